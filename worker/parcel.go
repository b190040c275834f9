package worker

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// MailLimits say what of a report's files is mailed.
type MailLimits struct {
	// Gzip is the size, in bytes, beyond which a file is attached as a gzip archive;
	// 0 = 5 MiB.
	Gzip int64
	// Most bounds the attachments of a mail, in bytes as they are sent, which is a third
	// more than the files have; what is beyond it is left on disk. 0 = 20 MiB.
	Most int64
}

const (
	defaultGzip = 5 << 20
	defaultMost = 20 << 20
	// longestResult is about how many bytes a row has in a results file beyond its own,
	// at most.
	longestResult = 2 << 10
)

func (l MailLimits) orDefault() MailLimits {
	if l.Gzip <= 0 {
		l.Gzip = defaultGzip
	}
	if l.Most <= 0 {
		l.Most = defaultMost
	}
	return l
}

// parcel is what a mail takes of a report's files. Close it once it is sent.
type parcel struct {
	attached []report.Attachment
	left     []report.Left
	archives []string // to be removed
}

// parcel makes a parcel of a report's files, and takes what it weighs from what a mail may
// still.
func (w *Worker) parcel(ctx context.Context, told *Told, gzip int64, left *int64) (*parcel, error) {
	p := &parcel{}
	upload := told.Report.Upload
	size := upload.Size + int64(upload.Tally.Rows)*longestResult
	if weight := int64(len(told.Files)) * size * 4 / 3; size <= gzip && weight <= *left {
		*left -= weight
		p.attached = told.Files
		return p, nil
	}
	for _, file := range told.Files {
		packed, err := w.archive(ctx, upload, file)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		attachment := report.Attachment{Name: file.Name, Size: packed.plain, Write: file.Write}
		if packed.plain > gzip {
			attachment = report.Attachment{Name: file.Name + ".gz", Size: packed.size, Write: packed.writeTo}
		}
		if size := attachment.MailSize(); size <= *left {
			*left -= size
			p.attached, p.archives = append(p.attached, attachment), append(p.archives, packed.path)
			continue
		}
		where := told.onShelf(file)
		if where == "" {
			where, err = packed.keep(upload, file)
		} else {
			err = os.Remove(packed.path)
		}
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.left = append(p.left, report.Left{Name: file.Name, Size: packed.plain, Where: where})
	}
	return p, nil
}

// Close removes what was only made for the mail.
func (p *parcel) Close() error {
	var failures []error
	for _, path := range p.archives {
		failures = append(failures, os.Remove(path))
	}
	return errors.Join(failures...)
}

// archive is a gzip archive of a file.
type archive struct {
	path        string
	plain, size int64 // bytes
}

// archive packs a file.
func (w *Worker) archive(ctx context.Context, upload *conversion.Upload, file report.Attachment) (a *archive, err error) {
	if err := os.MkdirAll(w.ResultsFolder, 0o777); err != nil {
		return nil, fmt.Errorf("pack %s: %w", file.Name, err)
	}
	// The name is the same each time, so that a process that is killed leaves at most one.
	a = &archive{path: filepath.Join(w.ResultsFolder, "."+keptName(upload, file)+".tmp")}
	out, err := os.Create(a.path)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", file.Name, err)
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		err = errors.Join(file.Write(&counting{zip, &a.plain}), zip.Close(), out.Sync())
	}
	if info, failure := out.Stat(); failure == nil {
		a.size = info.Size()
	}
	if err = errors.Join(err, out.Close(), ctx.Err()); err != nil {
		return nil, errors.Join(fmt.Errorf("pack %s: %w", file.Name, err), os.Remove(a.path))
	}
	return a, nil
}

// counting counts what is written.
type counting struct {
	to    io.Writer
	bytes *int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	*c.bytes += int64(n)
	return n, err
}

func (a *archive) writeTo(to io.Writer) error {
	in, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(to, in)
	return err
}

// keep leaves an archive on disk and tells where. The next report on the upload takes
// its place.
func (a *archive) keep(upload *conversion.Upload, file report.Attachment) (where string, err error) {
	folder, name := filepath.Dir(a.path), keptName(upload, file)
	if err := os.Rename(a.path, filepath.Join(folder, name)); err != nil {
		return "", errors.Join(fmt.Errorf("keep %s: %w", file.Name, err), os.Remove(a.path))
	}
	if err := ingest.SyncNames(folder); err != nil { // the mail will say that the file is there
		return "", fmt.Errorf("keep %s: %w", file.Name, err)
	}
	return filepath.Base(folder) + "/" + name, nil
}

func keptName(upload *conversion.Upload, file report.Attachment) string {
	return report.NumberedStem(upload.Name, upload.ID) + strings.TrimPrefix(file.Name, report.Stem(upload.Name)) + ".gz"
}
