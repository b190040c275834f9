package sftp

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Login is how to log in: by a key, by the keys of an agent, by a password, or by what the
// server takes of these.
type Login struct {
	KeyFile    string // a private key in OpenSSH's or PEM form
	Passphrase string // of the key; "" if it has none
	Agent      string // the socket of an agent (SSH_AUTH_SOCK); "" for none
	Password   string
}

// methods are the ways to log in, read anew each time: keys are changed while a program
// runs. done ends them.
func (l Login) methods() (methods []ssh.AuthMethod, done func(), err error) {
	var signers []ssh.Signer
	done = func() {}
	if l.KeyFile != "" {
		signer, err := l.key()
		if err != nil {
			return nil, nil, err
		}
		signers = append(signers, signer)
	}
	if l.Agent != "" {
		conn, err := net.Dial("unix", l.Agent)
		if err != nil {
			return nil, nil, fmt.Errorf("ask the SSH agent: %w", err)
		}
		done = func() { conn.Close() }
		held, err := agent.NewClient(conn).Signers()
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("ask the SSH agent: %w", err)
		}
		signers = append(signers, held...)
	}
	if len(signers) > 0 {
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if l.Password != "" {
		methods = append(methods, ssh.Password(l.Password), ssh.KeyboardInteractive(l.answer))
	}
	return methods, done, nil
}

// key reads the private key.
func (l Login) key() (ssh.Signer, error) {
	pem, err := os.ReadFile(l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the SSH key: %w", err)
	}
	var signer ssh.Signer
	if l.Passphrase == "" {
		signer, err = ssh.ParsePrivateKey(pem)
	} else {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(l.Passphrase))
	}
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("the SSH key %s has a passphrase: name its file with passphrase_file", l.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the SSH key %s: %w", l.KeyFile, err)
	}
	return signer, nil
}

// answer answers what a server asks without showing it with the password: some ask for it
// in that way only.
func (l Login) answer(_, _ string, questions []string, echoes []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i := range questions {
		if !echoes[i] {
			answers[i] = l.Password
		}
	}
	return answers, nil
}
