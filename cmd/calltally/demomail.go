package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// postOffice is a mail server inside the process, for the demo: SMTP takes mail
// in, IMAP hands it out, both with TLS on loopback. Mail to user+detail goes to
// user.
type postOffice struct {
	imap, smtp  string // addresses
	certificate []byte // of its own CA, PEM
	users       map[string]*imapmemserver.User
	closers     []io.Closer
}

const demoPassword = "demo"

// openPostOffice starts a mail server with mailboxes for some addresses.
func openPostOffice(addresses ...string) (*postOffice, error) {
	p := &postOffice{users: map[string]*imapmemserver.User{}}
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	p.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	mailboxes := imapmemserver.New()
	for _, address := range addresses {
		user := imapmemserver.NewUser(address, demoPassword)
		if err := user.Create("INBOX", nil); err != nil {
			return nil, err
		}
		mailboxes.AddUser(user)
		p.users[address] = user
	}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}}
	imapServer := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mailboxes.NewSession(), nil, nil
		},
		Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIdle: {}, imap.CapMove: {}, imap.CapUIDPlus: {}},
	})
	smtpServer := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &counter{office: p}, nil }))
	smtpServer.Domain = "localhost"
	if p.imap, err = p.serve(secure, imapServer.Serve, imapServer); err != nil {
		return nil, err
	}
	p.smtp, err = p.serve(secure, smtpServer.Serve, smtpServer)
	return p, err
}

// serve listens on a free port.
func (p *postOffice) serve(secure *tls.Config, serve func(net.Listener) error, closer io.Closer) (string, error) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		return "", err
	}
	p.closers = append(p.closers, closer)
	go serve(listener) //nolint:errcheck // it ends when the server is closed
	return listener.Addr().String(), nil
}

func (p *postOffice) close() {
	for _, c := range p.closers {
		c.Close()
	}
}

// trusted is a client's configuration that trusts the post office.
func (p *postOffice) trusted() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.certificate)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

// deliver puts a mail into a recipient's mailbox.
func (p *postOffice) deliver(to string, content []byte) error {
	local, domain, _ := strings.Cut(strings.ToLower(to), "@")
	local, _, _ = strings.Cut(local, "+")
	user, ok := p.users[local+"@"+domain]
	if !ok {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	mail := fmt.Appendf(nil, "Delivered-To: %s\r\n%s", to, content)
	_, err := user.Append("INBOX", literal{bytes.NewReader(mail)}, &imap.AppendOptions{Time: time.Now()})
	return err
}

// literal is a mail as the mailbox takes it.
type literal struct{ *bytes.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// counter is one sender at the post office's counter.
type counter struct {
	office *postOffice
	to     []string
}

func (c *counter) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *counter) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		if password != demoPassword {
			return errors.New("wrong password")
		}
		return nil
	}), nil
}

func (c *counter) Mail(string, *smtp.MailOptions) error { return nil }

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = append(c.to, to)
	return nil
}

func (c *counter) Data(r io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(r, 64<<20))
	for _, to := range c.to {
		err = errors.Join(err, c.office.deliver(to, content))
	}
	return err
}

func (c *counter) Reset()        { c.to = nil }
func (c *counter) Logout() error { return nil }

// selfSigned makes a certificate for this machine that is its own CA.
func selfSigned() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "calltally demo"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}

// inbox is a mailbox as its owner reads it, over IMAP.
type inbox struct {
	client *imapclient.Client
	read   int
}

func (p *postOffice) openInbox(address string) (*inbox, error) {
	client, err := imapclient.DialTLS(p.imap, &imapclient.Options{TLSConfig: p.trusted()})
	if err != nil {
		return nil, err
	}
	if err := client.Login(address, demoPassword).Wait(); err != nil {
		return nil, err
	}
	_, err = client.Select("INBOX", nil).Wait()
	return &inbox{client: client}, err
}

// next waits for the next mail and returns it.
func (b *inbox) next(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		selected, err := b.client.Select("INBOX", nil).Wait()
		if err != nil {
			return nil, err
		}
		if int(selected.NumMessages) > b.read {
			b.read++
			whole := &imap.FetchItemBodySection{Peek: true}
			found, err := b.client.Fetch(imap.SeqSetNum(uint32(b.read)), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
			if err != nil || len(found) != 1 {
				return nil, errors.Join(errors.New("the mail can't be read"), err)
			}
			return found[0].FindBodySection(whole), nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("no mail came within 20 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
