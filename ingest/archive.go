package ingest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"calltally/conversion"
)

// maxMembers is how many files of an archive are read.
const maxMembers = 200

// Members calls each for every file in the ZIP archive that a delivery is, in the order of
// their names, as a delivery of its own; any other delivery is handed on as it is. The
// archive is acknowledged when all of its files are. What it can't give becomes its refusal.
func Members(ctx context.Context, d *Delivery, limits Limits, each func(*Delivery) error) error {
	if d.Refusal != nil || d.Open == nil {
		return each(d)
	}
	zipped, err := begins(d.Open, "PK\x03\x04")
	if err != nil {
		return fmt.Errorf("read %s: %w", d.Name, err)
	}
	if !zipped {
		return each(d)
	}
	archive, refusal, err := openArchive(d.Open, limits)
	if err != nil {
		return fmt.Errorf("read %s: %w", d.Name, errors.Join(err, archive.Close()))
	}
	defer archive.Close()
	if refusal != nil {
		d.Refusal = refusal
		return each(d)
	}
	if archive.members == nil { // a workbook, or something else that is read or refused as it is
		return each(d)
	}
	acknowledged, accepted := 0, false
	for i, file := range archive.members {
		member := *d
		member.Origin, member.Name, member.AtHand, member.Known = MemberOrigin(d.Origin, i+1), path.Base(file.Name), false, false
		member.Closes = d.Closes && i == len(archive.members)-1
		member.Open = func() (io.ReadCloser, error) { return openMember(file) }
		if damage := readThrough(member.Open); damage != nil {
			member.Refusal = conversion.Refuse(conversion.NotATable, "The file is damaged inside its ZIP archive. Pack it again, or send it as it is.")
			member.Open = untilDamage(member.Open)
		}
		member.Ack = func(ctx context.Context, as Disposition) error {
			acknowledged++
			accepted = accepted || as == Accepted
			if acknowledged < len(archive.members) || d.Ack == nil {
				return nil
			}
			if accepted {
				return d.Ack(ctx, Accepted)
			}
			return d.Ack(ctx, Refused)
		}
		if err := each(&member); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// MemberOrigin is the origin of an archive's nth file.
func MemberOrigin(archive string, n int) string { return fmt.Sprintf("%s member %d", archive, n) }

// archive is a ZIP archive on this side.
type archive struct {
	members []*zip.File // nil if it isn't a plain archive
	copy    *Spooled
	at      io.Closer // of the copy that is open
}

// openArchive looks into an archive. It is copied first: what is inside is found from its
// end.
func openArchive(open Opener, limits Limits) (a *archive, refusal *conversion.Refusal, err error) {
	a = &archive{}
	in, err := open()
	if err != nil {
		return a, nil, err
	}
	defer in.Close()
	var disk error
	a.copy, disk, err = Spool(io.LimitReader(in, limits.Bytes+1))
	if err = errors.Join(disk, err); err != nil {
		return a, nil, fmt.Errorf("copy archive: %w", err)
	}
	at, err := a.copy.openAt()
	if err != nil {
		return a, nil, fmt.Errorf("copy archive: %w", err)
	}
	a.at = at
	size := a.copy.Size
	if size > limits.Bytes {
		return a, conversion.Refuse(conversion.TooLarge, "The archive is larger than %s. Send its files one by one.", conversion.SizeName(limits.Bytes)), nil
	}
	inside, err := openZip(at, size)
	if errors.Is(err, errDirectory) {
		return a, conversion.Refuse(conversion.ArchiveUnsafe, "The archive lists too many files; at most %d are read. Pack them into several archives.", maxMembers), nil
	}
	if err != nil {
		return a, conversion.Refuse(conversion.NotATable, "The ZIP archive is damaged or was cut short. Pack the files again, or send them as they are."), nil
	}
	if kind, _ := kindOfZip(inside); kind != zipArchive {
		return a, nil, nil
	}
	a.members, refusal = membersOf(inside, limits)
	return a, refusal, nil
}

// maxDirectory is how many bytes a ZIP archive's list of what it holds may have: it is in
// memory as a whole, before anything in it can be counted.
const maxDirectory = 1 << 20

var errDirectory = errors.New("the list of what the archive holds is too long")

// openZip reads the list of what a ZIP archive holds.
func openZip(at io.ReaderAt, size int64) (*zip.Reader, error) {
	if _, err := zip.NewReader(&bounded{at, maxDirectory}, size); errors.Is(err, errDirectory) {
		return nil, err
	}
	return zip.NewReader(at, size)
}

// bounded reads so many bytes at most.
type bounded struct {
	io.ReaderAt
	left int64
}

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errDirectory
	}
	return b.ReaderAt.ReadAt(p, at)
}

// Close removes the copy.
func (a *archive) Close() error {
	defer a.copy.Remove()
	if a.at == nil {
		return nil
	}
	return a.at.Close()
}

// membersOf lists an archive's files, or says why it isn't read.
func membersOf(inside *zip.Reader, limits Limits) ([]*zip.File, *conversion.Refusal) {
	var members []*zip.File
	var size uint64
	for _, f := range inside.File {
		name := strings.ReplaceAll(f.Name, `\`, "/")
		mode := f.Mode()
		switch {
		case mode.IsDir() || strings.HasSuffix(name, "/"), companion(name):
			continue
		case !fs.ValidPath(name) || !mode.IsRegular():
			return nil, conversion.Refuse(conversion.ArchiveUnsafe, "The archive holds “%s”, which is no plain file below it. Pack the files anew, without links and without paths.", conversion.Clip(conversion.OneLine(f.Name), 60))
		case f.Flags&1 != 0:
			return nil, conversion.Refuse(conversion.Encrypted, "The archive needs a password. Pack the files without one.")
		}
		// Each is compared alone too: a sum of what files claim may begin anew at zero.
		if size += f.UncompressedSize64; f.UncompressedSize64 > uint64(limits.Bytes) || size > uint64(limits.Bytes) || expands(f.UncompressedSize64, f.CompressedSize64) {
			return nil, conversion.Refuse(conversion.ArchiveUnsafe, "The archive unpacks to more than %s, or to more than %d times what it holds. Send its files one by one, unpacked.", conversion.SizeName(limits.Bytes), mostUnpacked)
		}
		members = append(members, f)
	}
	switch {
	case len(members) == 0:
		return nil, conversion.Refuse(conversion.Empty, "The archive holds no file. Pack the CSV into it, or send it as it is.")
	case len(members) > maxMembers:
		return nil, conversion.Refuse(conversion.ArchiveUnsafe, "The archive holds %d files; at most %d are read. Pack them into several archives.", len(members), maxMembers)
	}
	slices.SortFunc(members, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	return members, nil
}

// companion reports whether a file is one that packing programs add by themselves.
func companion(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(base, ".") || strings.EqualFold(base, "Thumbs.db") || strings.EqualFold(base, "desktop.ini")
}

// readThrough reads a file to its end, which proves its checksum.
func readThrough(open Opener) error {
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(io.Discard, in)
	return err
}

// untilDamage opens a damaged file as what can be read of it.
func untilDamage(open Opener) Opener {
	return func() (io.ReadCloser, error) {
		in, err := open()
		if err != nil {
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return struct {
			io.Reader
			io.Closer
		}{endingAtDamage{in}, in}, nil
	}
}

type endingAtDamage struct{ in io.Reader }

func (r endingAtDamage) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// openMember opens a file of an archive: no more of it than it says that it has.
func openMember(file *zip.File) (io.ReadCloser, error) {
	in, err := file.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errArchive, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{&unzipping{in: in, left: int64(file.UncompressedSize64)}, in}, nil
}
