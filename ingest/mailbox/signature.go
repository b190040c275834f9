package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-msgauth/dkim"
)

const signatureHeader = "DKIM-Signature"

// Bounds of what signatures cost.
const (
	mostSignatures = 5 // that are looked at, of the sender's domain
	// maxSignature and maxSigned are how many bytes a signature may have, and it with what it
	// covers of the header. The library takes time that grows with the square of a folded field,
	// and with the names in a signature times the fields.
	maxSignature, maxSigned = 8 << 10, 32 << 10
	// signatureTime is how long a mail's signatures may take, keys included.
	signatureTime = 5 * time.Second
)

// errUnsure says that it can't be told by now whether somebody vouches for a mail's sender.
var errUnsure = errors.New("the key of its DKIM signature can't be looked up")

// signatureDoubts says why no DKIM signature vouches for a domain, "" if one does.
func (v Vouchers) signatureDoubts(ctx context.Context, h message.Header, in io.ReadSeeker, domain string) (string, error) {
	within, cancel := context.WithTimeout(ctx, signatureTime)
	defer cancel()
	why, unsure, looked := "it has no DKIM signature of "+domain, error(nil), 0
	for fields, at := h.Fields(), 0; fields.Next() && looked < mostSignatures; at++ {
		signer := signatureTag(fields.Value(), "d")
		if !strings.EqualFold(fields.Key(), signatureHeader) || !aligned(signer, domain) {
			continue
		}
		looked++
		signed, err := v.verify(within, h, at, in)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case dkim.IsTempFail(err):
			unsure = fmt.Errorf("%w (%w)", errUnsure, err)
		case errors.Is(err, errDisk):
			return "", err
		case err != nil:
			why = fmt.Sprintf("its DKIM signature of %s is not good (%v)", signer, err)
		case !aligned(signed.Domain, domain):
		default:
			field := unsigned(h, signed.HeaderKeys)
			if field == "" {
				return "", nil
			}
			why = fmt.Sprintf("its DKIM signature of %s leaves out %s", signer, field)
		}
	}
	return why, unsure
}

// verify verifies one signature, which stands at some place in the header. Of several at once,
// the library verifies each in a goroutine of its own, and nothing could be done about its panic.
func (v Vouchers) verify(ctx context.Context, h message.Header, at int, in io.ReadSeeker) (*dkim.Verification, error) {
	head := signedHeader(h, at)
	if head == nil {
		return nil, errors.New("it covers too much")
	}
	body, err := bodyOf(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDisk, err)
	}
	verified, err := dkim.VerifyWithOptions(io.MultiReader(bytes.NewReader(head), &inTime{ctx, body}), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return v.LookupTXT(ctx, name) },
		MaxVerifications: 1,
	})
	switch {
	case err != nil && !errors.Is(err, dkim.ErrTooManySignatures):
		return nil, err
	case len(verified) != 1:
		return nil, errors.New("it can't be read")
	}
	return verified[0], verified[0].Err
}

// unsigned is a field that says how to read a mail's body and that a signature doesn't cover; ""
// if it covers all there are. By such a field, anybody could have the body be read as something
// else than its sender wrote: a quotation as an attachment.
func unsigned(h message.Header, signed []string) string {
	readBy := []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"}
	if kind, _, _ := h.ContentType(); strings.HasPrefix(kind, "multipart/") {
		readBy = readBy[:1] // each part has its own
	}
	for _, field := range readBy {
		if h.Has(field) && !slices.ContainsFunc(signed, func(name string) bool { return strings.EqualFold(name, field) }) {
			return field
		}
	}
	return ""
}

// signedHeader is a signature and what it covers, as a header with nothing else in it; nil if
// that is too much. Other signatures are above it if they were made later.
func signedHeader(h message.Header, signature int) []byte {
	var head, covered []byte
	var names []string
	for fields, at := h.Fields(), 0; fields.Next(); at++ {
		if at != signature {
			continue
		}
		if head, _ = fields.Raw(); len(head) > maxSignature {
			return nil
		}
		names = strings.Split(strings.ToLower(signatureTag(fields.Value(), "h")), ":")
	}
	for fields, at := h.Fields(), 0; fields.Next(); at++ {
		name := strings.ToLower(fields.Key())
		if slices.Contains(names, name) && (name != strings.ToLower(signatureHeader) || at > signature) {
			raw, _ := fields.Raw()
			covered = append(covered, raw...)
		}
	}
	if len(head)+len(covered) > maxSigned {
		return nil
	}
	return slices.Concat(head, covered, []byte("\r\n"))
}

// signatureTag is a tag of a signature, without the blanks in it.
func signatureTag(signature, name string) string {
	for tag := range strings.SplitSeq(signature, ";") {
		key, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(value), "")
		}
	}
	return ""
}

var errDisk = errors.New("read spooled mail")

// bodyOf reads a mail from behind its header.
func bodyOf(in io.ReadSeeker) (io.Reader, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	body := bufio.NewReader(in)
	for within := false; ; {
		line, more, err := body.ReadLine()
		switch {
		case errors.Is(err, io.EOF), err == nil && len(line) == 0 && !within:
			return body, nil
		case err != nil:
			return nil, err
		}
		within = more
	}
}

// inTime reads a mail until ctx ends.
type inTime struct {
	ctx context.Context
	in  io.Reader
}

func (r *inTime) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errDisk, err)
	}
	return n, err
}
