package mtls

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// protocol is the name by which both ends agree that bpfd is spoken (ALPN).
const protocol = "bpfd/1"

// Credentials are the files of an end. All of them must be there.
type Credentials struct {
	dir  string
	cert tls.Certificate
	pool *x509.CertPool
}

// Load reads the credentials in dir, and checks that they are good for a role.
func Load(dir string, role Role) (*Credentials, error) {
	ca, err := readCertificate(filepath.Join(dir, caFile))
	if err != nil {
		return nil, err
	}
	leaf, err := readCertificate(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("%s: the key in %s does not belong to the certificate in %s", dir, keyFile, certFile)
	}
	c := &Credentials{dir: dir, pool: x509.NewCertPool()}
	c.pool.AddCert(ca)
	c.cert = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: c.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsage(role)}})
	if err != nil {
		return nil, fmt.Errorf("%s: our own certificate is no good: %w", filepath.Join(dir, certFile), reason(err))
	}
	return c, nil
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("TLS is not set up completely: %s is missing; see bpfctl tls --help", path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", path, kind)
	}
	return block.Bytes, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}

// readKey reads a key that nobody else can read.
func readKey(path string) (crypto.Signer, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.Mode()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 it, or make a new one", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds no key that can sign", path)
	}
	return signer, nil
}

// config is what both ends ask for.
func (c *Credentials) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true, // each connection is verified in full
		RootCAs:                c.pool,
		ClientCAs:              c.pool,
	}
}

// Server returns the configuration of bpfd-tls.
func (c *Credentials) Server() *tls.Config {
	config := c.config()
	config.Certificates = []tls.Certificate{c.cert}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.VerifyConnection = agreed
	return config
}

// Connect makes raw a connection of bpfctl to the target with a name or IP
// address. The target has not accepted us yet when it returns: in TLS 1.3 that
// is seen with the first bytes that come.
func (c *Credentials) Connect(ctx context.Context, raw net.Conn, name string) (*tls.Conn, error) {
	config := c.config()
	config.ServerName = name
	config.VerifyConnection = agreed
	asked := false
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return &c.cert, nil
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, Explain(err)
	}
	if !asked {
		return nil, errNotAsked
	}
	return conn, nil
}

var (
	errNotAsked = errors.New("it is refused: it asks for no certificate and would serve anybody, so it is no bpfd-tls")
	errProtocol = errors.New("it is refused: it speaks TLS, but not bpfd's protocol")
)

func agreed(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != protocol {
		return errProtocol
	}
	return nil
}

// reason says in the user's words why a certificate is refused.
func reason(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return errors.New("its certificate is not signed by our authority")
	case errors.As(err, &name):
		return fmt.Errorf("its certificate is for %s, not for %s", names(name.Certificate), name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("its certificate is valid from %s to %s only", invalid.Cert.NotBefore.Format(time.DateTime), invalid.Cert.NotAfter.Format(time.DateTime))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return errors.New("its certificate is for the other end of a connection")
	}
	return err
}

// Explain says in the user's words why no connection came about; "it" is the
// other end.
func Explain(err error) error {
	var (
		refused *tls.CertificateVerificationError
		header  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("it is refused: %w", reason(refused.Err))
	case errors.As(err, &header):
		return errors.New("it does not speak TLS")
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return fmt.Errorf("it refuses us: %s", strings.TrimPrefix(op.Err.Error(), "tls: "))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errors.New("it did not complete the TLS handshake in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		return errors.New("it closed the connection in the middle of the TLS handshake")
	}
	return err
}

func names(c *x509.Certificate) string {
	list := fmt.Sprint(c.DNSNames)
	if len(c.IPAddresses) > 0 {
		list = fmt.Sprint(append(stringsOf(c.IPAddresses), c.DNSNames...))
	}
	return list
}

func stringsOf[T fmt.Stringer](list []T) []string {
	var all []string
	for _, e := range list {
		all = append(all, e.String())
	}
	return all
}
