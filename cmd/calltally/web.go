package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"calltally/conversion"
	"calltally/ingest/desk"
	"calltally/report"
	"calltally/web"
)

type webConfig struct {
	Listen          string `yaml:"listen"`
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	// Proxied says that a proxy in front of it encrypts.
	Proxied bool `yaml:"proxied"`
}

// shortestToken is how many characters a token has at least, so that nobody guesses it.
const shortestToken = 20

// checkWeb checks where HTTP is answered, and the tokens of the sources that need it.
func (c *config) checkWeb() error {
	tokens := map[string]string{}
	for i := range c.Sources {
		s, at := &c.Sources[i], fmt.Sprintf("$.sources[%d]", i)
		if s.Kind != kindHTTP {
			continue
		}
		if c.Web == nil {
			return c.at(faultAt(at, "the source takes requests, and nothing says where they come in: add web, such as web: {listen: \"127.0.0.1:8080\"}"))
		}
		token, err := c.token(s, at)
		if err != nil {
			return c.at(err)
		}
		if other, taken := tokens[token]; taken {
			return c.at(faultAt(at+".token_file", "the source %s has the same token; every source needs a token of its own", other))
		}
		tokens[token] = s.Name
	}
	if c.Web == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Web.Listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return c.at(faultAt("$.web.listen", "%q is not an address such as 127.0.0.1:8080, with a port of 65535 at most", c.Web.Listen))
	}
	certificate, err := c.certificate()
	if err != nil {
		return c.at(err)
	}
	if certificate == nil && !loopback(host) && !c.Web.Proxied {
		return c.at(faultAt("$.web.listen", "tokens and customers' data would cross the network unencrypted: name certificate_file and key_file, or listen on 127.0.0.1, or set proxied: true if a proxy in front encrypts"))
	}
	return nil
}

// token reads the token of a source that takes requests.
func (c *config) token(s *sourceConfig, at string) (token string, err error) {
	if token, err = c.secret(at+".token_file", s.Token, s.TokenFile); err != nil {
		return "", err
	}
	if len(token) < shortestToken {
		return "", faultAt(at, "the source has no token of at least %d characters: put a random one into a file, as “openssl rand -hex 32 > api.token” does, and name it with token_file", shortestToken)
	}
	return token, nil
}

// certificate reads the certificate; nil if there is none.
func (c *config) certificate() (*tls.Certificate, error) {
	if c.Web.CertificateFile == "" && c.Web.KeyFile == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.relative(c.Web.CertificateFile), c.relative(c.Web.KeyFile))
	if err != nil {
		return nil, faultAt("$.web", "certificate_file and key_file can't be read: %v", err)
	}
	return &certificate, nil
}

// handler answers HTTP.
func (a *app) handler(log *slog.Logger) (http.Handler, error) {
	uploads := &web.Uploads{Store: a.store, MaxBytes: a.config.limits().Bytes, Log: log}
	for i := range a.config.Sources {
		d, ok := a.worker.Plans[i].Source.(*desk.Desk)
		if !ok {
			continue
		}
		token, err := a.config.token(&a.config.Sources[i], fmt.Sprintf("$.sources[%d]", i))
		if err != nil {
			return nil, a.config.at(err)
		}
		uploads.Desks = append(uploads.Desks, web.Desk{Desk: d, Token: token})
	}
	uploads.Files = func(ctx context.Context, upload *conversion.Upload) ([]report.Attachment, error) {
		told, err := a.worker.Told(ctx, upload, 1)
		if err != nil {
			return nil, err
		}
		return told.Files, nil
	}
	mux := http.NewServeMux()
	uploads.Handle(mux)
	return mux, nil
}

// door is where requests come in.
type door struct {
	listener net.Listener
	handler  http.Handler
	secure   *tls.Config // nil: they come unencrypted
}

// openDoor opens what the configuration says of requests, if anything. If those of the program
// before come in at the same address, no connection is refused there meanwhile.
func (a *app) openDoor(before *app, log *slog.Logger) error {
	if a.config.Web == nil {
		return nil
	}
	handler, err := a.handler(log)
	if err != nil {
		return err
	}
	certificate, err := a.config.certificate()
	if err != nil {
		return a.config.at(err)
	}
	opened := &door{handler: handler}
	if certificate != nil {
		opened.secure = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	if before != nil && before.door != nil && before.config.Web.Listen == a.config.Web.Listen {
		opened.listener, err = before.door.share()
	} else {
		opened.listener, err = net.Listen("tcp", a.config.Web.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	a.door = opened
	return nil
}

// share is another listener of the same queue of connections: it outlives the door.
func (d *door) share() (net.Listener, error) {
	queue, err := d.listener.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer queue.Close()
	return net.FileListener(queue)
}

// serve answers HTTP until stop is called; what is being answered then is finished.
func (a *app) serve(ctx context.Context, log *slog.Logger) (stop func() error) {
	if a.door == nil {
		return func() error { return nil }
	}
	server := &http.Server{
		Handler: a.door.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Minute, WriteTimeout: 30 * time.Minute, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	listener := a.door.listener
	if a.door.secure != nil {
		listener = tls.NewListener(listener, a.door.secure)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	log.Info("taking requests", "address", listener.Addr().String())
	return func() error {
		for _, plan := range a.worker.Plans {
			if d, ok := plan.Source.(*desk.Desk); ok {
				d.Close()
			}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if failure := <-ended; !errors.Is(failure, http.ErrServerClosed) {
			err = errors.Join(err, failure)
		}
		return err
	}
}

// probeDesk sees whether requests are taken and the token of the i-th source is known, or
// whether they could be taken. The token is shown to a calltally only.
func (c *config) probeDesk(ctx context.Context, i int) (string, error) {
	listener, taken := net.Listen("tcp", c.Web.Listen)
	if taken == nil {
		return "free; “calltally run” will listen there", listener.Close()
	}
	token, err := c.token(&c.Sources[i], fmt.Sprintf("$.sources[%d]", i))
	if err != nil {
		return "", err
	}
	base := url.URL{Scheme: "http", Host: c.Web.Listen}
	client := tokenClient()
	straight := &http.Transport{} // by no proxy
	client.Timeout, client.Transport = 5*time.Second, straight
	defer straight.CloseIdleConnections()
	certificate, err := c.certificate()
	if err != nil {
		return "", c.at(err)
	}
	if certificate != nil {
		base.Scheme = "https"
		straight.TLSClientConfig = onlyBy(certificate)
	}
	challenged := func(token string) (bool, error) {
		s := &sender{base: &base, http: client, token: token}
		request, err := s.request(ctx, http.MethodGet, "/uploads/0", nil)
		if err != nil {
			return false, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return false, fmt.Errorf("the address is taken by a program that doesn't answer as calltally would (%w): %w", taken, err)
		}
		answer.Body.Close()
		return answer.Header.Get("WWW-Authenticate") == web.Challenge, nil
	}
	switch ours, err := challenged(""); {
	case err != nil:
		return "", err
	case !ours:
		return "", fmt.Errorf("the address is taken by another program: %w", taken)
	}
	switch unknown, err := challenged(token); {
	case err != nil:
		return "", err
	case unknown:
		return "", errors.New("calltally answers there and doesn't know the token: start it again, so that it reads its configuration")
	}
	return "calltally answers there and knows the token", nil
}

// onlyBy trusts who shows a certificate, and nobody else. It may be for another name than
// that of the address, which is our own.
func onlyBy(certificate *tls.Certificate) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(shown tls.ConnectionState) error { //nolint:gosec // see above
		if !bytes.Equal(shown.PeerCertificates[0].Raw, certificate.Certificate[0]) {
			return errors.New("it shows another certificate than that of certificate_file; if it is calltally, start it again with “calltally run”")
		}
		return nil
	}}
}
