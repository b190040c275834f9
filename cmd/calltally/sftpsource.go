package main

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"strings"

	"calltally/ingest/sftp"
)

// sftpFolder reads where an SFTP source is and how to get there, from a URL such as
// sftp://acme@files.example/outgoing. A path that begins with /~/ begins where a login
// does.
func (c *config) sftpFolder(s *sourceConfig, at string) (*sftp.Folder, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "sftp" || u.RawQuery != "" || u.Fragment != "" {
		return nil, faultAt(at+".url", "%q is not an address such as sftp://acme@files.example/outgoing", s.URL)
	}
	if _, inURL := u.User.Password(); inURL {
		return nil, faultAt(at+".url", "the address holds a password; put it in a file and name that with password_file")
	}
	if u.User.Username() == "" {
		return nil, faultAt(at+".url", "the address names no user; write it as sftp://acme@files.example/outgoing")
	}
	f := &sftp.Folder{Address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "22")), User: u.User.Username(), Path: cmp.Or(u.Path, "/")}
	if home, ok := strings.CutPrefix(u.Path, "/~"); ok {
		f.Path = cmp.Or(strings.TrimPrefix(home, "/"), ".")
	}
	if f.Login, err = c.sftpLogin(s, at); err != nil {
		return nil, err
	}
	switch {
	case s.KnownHosts != "" && len(s.Fingerprints) > 0:
		return nil, faultAt(at+".fingerprints", "the server is told by known_hosts or by fingerprints, not by both; take one out")
	case len(s.Fingerprints) > 0:
		f.Trusts, err = sftp.Fingerprints(s.Fingerprints...)
		if err != nil {
			return nil, faultAt(at+".fingerprints", "%v", err)
		}
	case s.KnownHosts != "":
		f.Trusts, err = sftp.KnownHosts(c.relative(s.KnownHosts))
		if err != nil {
			return nil, faultAt(at+".known_hosts", "the known hosts can't be read: %v", err)
		}
	default:
		return nil, faultAt(at, "nothing says which server is the right one: name a file with known_hosts, or the server's key with fingerprints")
	}
	return f, nil
}

// sftpLogin reads how to log in.
func (c *config) sftpLogin(s *sourceConfig, at string) (login sftp.Login, err error) {
	login = sftp.Login{KeyFile: c.relative(s.KeyFile)}
	if login.Password, err = c.secret(at+".password_file", s.Password, s.PasswordFile); err != nil {
		return login, err
	}
	if login.Passphrase, err = c.secret(at+".passphrase_file", "", s.PassphraseFile); err != nil {
		return login, err
	}
	if err = c.guarded(at+".key_file", s.KeyFile); err != nil {
		return login, err
	}
	if s.Agent {
		if login.Agent = os.Getenv("SSH_AUTH_SOCK"); login.Agent == "" {
			return login, faultAt(at+".agent", "no SSH agent runs: SSH_AUTH_SOCK is not set")
		}
	}
	if login == (sftp.Login{}) {
		return login, faultAt(at, "nothing says how to log in: set key_file, agent: true or password_file")
	}
	return login, nil
}
