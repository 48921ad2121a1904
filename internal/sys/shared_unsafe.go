package sys

import (
	"sync/atomic"
	"unsafe"
)

// The following read and write memory that is shared with the kernel or
// another process, atomically and with acquire and release order. off must be
// aligned.

// Load64 reads 8 bytes.
func Load64(b []byte, off int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[off])))
}

// Store64 writes 8 bytes.
func Store64(b []byte, off int, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[off])), v)
}

// Load32 reads 4 bytes.
func Load32(b []byte, off int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[off])))
}

// CompareAndSwap64 replaces old by new and says whether it did.
func CompareAndSwap64(b []byte, off int, old, new uint64) bool {
	return atomic.CompareAndSwapUint64((*uint64)(unsafe.Pointer(&b[off])), old, new)
}

// LoadWord reads an unsigned long of the kernel, which has the size of ours.
func LoadWord(b []byte, off int) uint64 {
	return uint64(atomic.LoadUintptr((*uintptr)(unsafe.Pointer(&b[off]))))
}

// StoreWord writes an unsigned long of the kernel.
func StoreWord(b []byte, off int, v uint64) {
	atomic.StoreUintptr((*uintptr)(unsafe.Pointer(&b[off])), uintptr(v))
}
