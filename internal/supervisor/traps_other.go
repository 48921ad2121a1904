//go:build !amd64

package supervisor

// archTraps is empty: newer architectures lack the calls that others replaced.
var archTraps []trap
