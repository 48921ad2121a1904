// Package mtls holds what both ends of a mutually authenticated TLS connection
// need: a small certificate authority, the files of each end, and what is
// accepted of the other end. There is TLS 1.3 only, and nothing less.
package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Files of an end. The authority's own key is only where certificates are issued.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	certFile  = "cert.pem"
	keyFile   = "key.pem"
)

// Role is what a certificate is good for: no end accepts one of its own kind.
type Role x509.ExtKeyUsage

// Roles.
const (
	Host   = Role(x509.ExtKeyUsageClientAuth) // of bpfctl
	Target = Role(x509.ExtKeyUsageServerAuth) // of bpfd-tls
)

// caLife is how long an authority is valid.
const caLife = 10 * 365 * 24 * time.Hour

// Init makes an authority in dir, where nothing of one may be yet.
func Init(dir string) error {
	if err := absent(dir, caFile, caKeyFile, certFile, keyFile); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := template("bpfd authority", caLife)
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, caKeyFile), key); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, caFile), "CERTIFICATE", der, 0o644)
}

// Issue makes a certificate by the authority in dir, and puts the files of its
// owner into out. Names are DNS names or IP addresses; the first is the subject's.
func Issue(dir, out string, role Role, life time.Duration, names ...string) error {
	if len(names) == 0 {
		return errors.New("a certificate needs a name")
	}
	ca, err := readCertificate(filepath.Join(dir, caFile))
	if err != nil {
		return err
	}
	caKey, err := readKey(filepath.Join(dir, caKeyFile))
	if err != nil {
		return err
	}
	t, err := template(names[0], life)
	if err != nil {
		return err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsage(role)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if dnsName.MatchString(name) {
			t.DNSNames = append(t.DNSNames, name)
		} else {
			return fmt.Errorf("%q is neither a host's name nor an IP address", name)
		}
	}
	own := filepath.Clean(dir) == filepath.Clean(out)
	files := []string{certFile, keyFile}
	if !own {
		files = append(files, caFile)
	}
	if err := absent(out, files...); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	if err := writeKey(filepath.Join(out, keyFile), key); err != nil {
		return err
	}
	if err := writePEM(filepath.Join(out, certFile), "CERTIFICATE", der, 0o644); err != nil {
		return err
	}
	if own {
		return nil
	}
	return writePEM(filepath.Join(out, caFile), "CERTIFICATE", ca.Raw, 0o644)
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

// template returns what all certificates have. They are valid from a little
// before now, since clocks differ.
func template(name string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(min(-time.Hour, life-time.Hour)),
		NotAfter:     now.Add(life),
	}, nil
}

// absent says that a file is there already: none is replaced, and to write the
// others would leave files that do not belong together.
func absent(dir string, files ...string) error {
	for _, file := range files {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			return fmt.Errorf("%s is there already, and is not replaced: remove the directory to begin anew, or name another one", filepath.Join(dir, file))
		}
	}
	return nil
}

func writeKey(path string, key crypto.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der, 0o600)
}

// writePEM makes a file; it replaces none.
func writePEM(path, kind string, der []byte, perm os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
