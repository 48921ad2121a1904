package text

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCreateMap: each dialect, and numbers from 3.
func TestCreateMap(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 1 8 40 10240 0")
	c.want(4, "BPF_CREATE_MAP 4 4 4 2 0")
	c.want(5, "BPF_CREATE_MAP 1 counts 8 40 10240 0")
	c.want(6, "BPF_CREATE_MAP 1 __none__ 8 40 10240 0")
	c.want(7, "BPF_CREATE_MAP 1 a_name_of_more_than_fifteen_bytes 8 40 10240 0 1")
	c.want(8, "BPF_CREATE_MAP 1 a'name'that-kernels-refuse 8 40 10240 0 1 extra")
	c.want(-1, "BPF_CREATE_MAP 1 0 40 10240 0")
	same(t, c.do("LAST_ERROR"), "last_error: ret=22", "BPF_CREATE_MAP: invalid argument")
	c.want(0, "CLOSE 5")
	c.want(-1, "CLOSE 5")
	c.want(-1, "BPF_LOOKUP_ELEM 5 %s 8 40", b64(1, 2))
	c.want(5, "BPF_CREATE_MAP 1 counts 8 40 10240 0")
	c.finish()
}

// TestElements: update, lookup, delete, walk, on a hash.
func TestElements(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 1 4 8 100 0")
	c.want(-1, "BPF_GET_FIRST_KEY 3 4")
	c.want(-1, "BPF_GET_FIRST_KEY 3 4 8 1")
	c.want(-1, "BPF_LOOKUP_ELEM 3 %s 4 8", b64(1))
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 8 0", b64(1), b64(10, 11))
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 8 0", strings.TrimRight(b64(1), "="), strings.TrimRight(b64(10, 12), "="))
	c.want(-1, "BPF_UPDATE_ELEM 3 %s 4 %s 8 1", b64(1), b64(10, 12)) // BPF_NOEXIST
	same(t, c.do("LAST_ERROR"), "last_error: ret=17", "BPF_UPDATE_ELEM: file exists")
	same(t, c.do("BPF_LOOKUP_ELEM 3 %s 4 8", b64(1)), b64(10, 12))
	for _, first := range []string{"BPF_GET_FIRST_KEY 3 4", "BPF_GET_FIRST_KEY 3 4 8 0"} {
		same(t, c.do("%s", first), b64(1))
	}
	for _, first := range []string{"BPF_GET_FIRST_KEY 3 4 8", "BPF_GET_FIRST_KEY 3 4 8 1"} {
		same(t, c.do("%s", first), b64(1), b64(10, 12), "")
	}
	c.want(-1, "BPF_GET_NEXT_KEY 3 %s 4", b64(1))
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 8 0", b64(2), b64(20, 21))
	keys := []string{c.do("BPF_GET_FIRST_KEY 3 4")[0]}
	keys = append(keys, c.do("BPF_GET_NEXT_KEY 3 %s 4", keys[0])...)
	if len(keys) != 2 || keys[0] == keys[1] {
		t.Errorf("keys %q", keys)
	}
	c.want(0, "BPF_DELETE_ELEM 3 %s 4", b64(1))
	c.want(-1, "BPF_DELETE_ELEM 3 %s 4", b64(1))
	c.want(1, "BPF_CLEAR_MAP 3 4")
	c.want(0, "BPF_CLEAR_MAP 3 4")
	c.finish()
}

// TestBadElements: what is wrong is refused, and the session goes on.
func TestBadElements(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 1 4 8 100 0")
	c.want(4, "BPF_PROG_LOAD 1 %s", nothing)
	value, key := b64(10, 11), b64(1)
	c.want(-22, "BPF_UPDATE_ELEM 3 !!!! 4 %s 8 0", value)
	c.want(-22, "BPF_UPDATE_ELEM 3 %s 4 b'AAAA' 8 0", key)
	c.want(-22, "BPF_UPDATE_ELEM 3 %s 4 A 8 0", key)
	same(t, c.do("LAST_ERROR"), "last_error: ret=22", "BPF_UPDATE_ELEM: an argument is no base64")
	for _, line := range []string{
		"BPF_UPDATE_ELEM 3 " + key + " 8 " + value + " 8 0", "BPF_UPDATE_ELEM 3 " + key + " 4 " + value + " 16 0",
		"BPF_UPDATE_ELEM 3 " + value + " 8 " + value + " 8 0", "BPF_UPDATE_ELEM 3 " + key + " 4 " + key + " 4 0",
		"BPF_UPDATE_ELEM 4 " + key + " 4 " + value + " 8 0", "BPF_UPDATE_ELEM 99 " + key + " 4 " + value + " 8 0",
		"BPF_UPDATE_ELEM -1 " + key + " 4 " + value + " 8 0", "BPF_UPDATE_ELEM 0 " + key + " 4 " + value + " 8 0",
		"BPF_LOOKUP_ELEM 3 !!!! 4 8", "BPF_LOOKUP_ELEM 3 " + key + " 4 4", "BPF_LOOKUP_ELEM 3 " + key + " 4 -8",
		"BPF_LOOKUP_ELEM 3 " + key + " 4 2147483647", "BPF_LOOKUP_ELEM 4 " + key + " 4 8", "BPF_GET_FIRST_KEY 3 8",
		"BPF_GET_FIRST_KEY 3 4 4 1", "BPF_GET_FIRST_KEY 77 4 4 1", "BPF_GET_NEXT_KEY 3 = 4", "BPF_CLEAR_MAP 3 8", "BPF_CLEAR_MAP 9 4",
		"BPF_DELETE_ELEM 3 AA 4", "BPF_DUMP_MAP 4", "BPF_DELETE_BATCH 9 " + key, "BPF_DELETE_BATCH 3 AA",
		"BPF_CLOSE_PERF_EVENT_FD 3", "PERF_READER_POLL 0 1 3", "PERF_READER_POLL 0 1 -5", "PERF_READER_LOST 3", "BPF_DETACH_KPROBE none",
		"BPF_ATTACH_TRACEPOINT 3 syscalls sys_enter_openat", "BPF_ATTACH_TRACEPOINT 99 syscalls sys_enter_openat",
		"BPF_ATTACH_TRACEPOINT 4 no such", "BPF_ATTACH_UPROBE 4 0 e /no/such 0 -1", "BPF_ATTACH_KPROBE 4 0 e no_such_function",
		"BPF_OPEN_PERF_BUFFER -1 0 3", "BPF_OPEN_PERF_BUFFER -1 0 0", "BPF_OPEN_PERF_BUFFER -1 9999 8",
		"BPF_ATTACH_PERF_EVENT 4 1 0 1 1 -1 0 -1", "BPF_ATTACH_PERF_EVENT 4 1 0 0 0 -1 0 -1", "BPF_ATTACH_PERF_EVENT 4 1 0 0 99 -1 0 55",
	} {
		if got := c.ret("%s", line); got != -1 {
			t.Errorf("%s: ret=%d", line, got)
		}
	}
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 8 0", key, value)
	same(t, c.do("BPF_LOOKUP_ELEM 3 %s 4 8", key), value)
	c.want(5, "BPF_CREATE_MAP 1 4 8 100 0") // nothing has taken a number
}

// TestSmallest: keys and values of one byte.
func TestSmallest(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 1 1 1 10 0")
	for _, v := range []string{"AA==", "/w=="} {
		c.want(0, "BPF_UPDATE_ELEM 3 %s 1 %s 1 0", v, v)
		same(t, c.do("BPF_LOOKUP_ELEM 3 %s 1 1", v), v)
	}
	if lines := c.do("BPF_GET_FIRST_KEY 3 1 1 1"); len(lines) != 5 || lines[0] != lines[1] || lines[2] != lines[3] || lines[4] != "" {
		t.Errorf("dump: %q", lines)
	}
}

// TestPerCPU: a client may think that there are more CPUs, not that there are
// fewer.
func TestPerCPU(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 6 4 4 1 0")
	size := 8 * possibleCPUs()
	value := make([]byte, size+16)
	value[0] = 7
	c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s %d 0", b64(0), base64.StdEncoding.EncodeToString(value), len(value))
	same(t, c.do("BPF_LOOKUP_ELEM 3 %s 4 %d", b64(0), size), base64.StdEncoding.EncodeToString(value[:size]))
	same(t, c.do("BPF_LOOKUP_ELEM 3 %s 4 %d", b64(0), size+16), base64.StdEncoding.EncodeToString(value))
	same(t, c.do("BPF_GET_FIRST_KEY 3 4 %d 1", size+16), b64(0), base64.StdEncoding.EncodeToString(value), "")
	c.want(-1, "BPF_LOOKUP_ELEM 3 %s 4 %d", b64(0), size-8)
	c.want(-1, "BPF_CLEAR_MAP 3 4")
}

// fill puts n entries into map 3, of 4 bytes each.
func fill(c *client, n int) {
	c.want(3, "BPF_CREATE_MAP 1 4 4 %d 0", n+10)
	for i := range n {
		c.send(fmt.Sprintf("BPF_UPDATE_ELEM 3 %s 4 %s 4 0\n", b64(uint32(i)), b64(uint32(2*i))))
		same(c.t, c.reply(), "bpf_update_elem: ret=0")
	}
}

// TestDump: all entries, each once, in all the ways in which they are to be had.
func TestDump(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	const n = 3000
	fill(c, n)
	check := func(pairs [][2]string) {
		t.Helper()
		seen := make(map[string]bool)
		for _, p := range pairs {
			k, _ := base64.StdEncoding.DecodeString(p[0])
			v, _ := base64.StdEncoding.DecodeString(p[1])
			if seen[p[0]] || len(k) != 4 || len(v) != 4 || binary.NativeEndian.Uint32(v) != 2*binary.NativeEndian.Uint32(k) {
				t.Fatalf("entry %q", p)
			}
			seen[p[0]] = true
		}
		if len(seen) != n {
			t.Fatalf("%d entries", len(seen))
		}
	}
	var pairs [][2]string
	lines := c.do("BPF_GET_FIRST_KEY 3 4 4 1")
	for i := 0; i+1 < len(lines); i += 2 {
		pairs = append(pairs, [2]string{lines[i], lines[i+1]})
	}
	check(pairs)
	for _, command := range []string{"BPF_DUMP_MAP 3", "BPF_DUMP_AND_CLEAR_MAP 3"} {
		pairs = nil
		for _, line := range c.do("%s", command) {
			k, v, _ := strings.Cut(line, " ")
			pairs = append(pairs, [2]string{k, v})
		}
		check(pairs)
	}
	same(t, c.do("BPF_DUMP_MAP 3"))
	for i := range uint32(5) {
		c.want(0, "BPF_UPDATE_ELEM 3 %s 4 %s 4 0", b64(i), b64(i))
	}
	c.want(2, "BPF_DELETE_BATCH 3 %s %s %s %s", b64(1), b64(3), b64(3), b64(99))
	c.want(3, "BPF_CLEAR_MAP 3 4")
}

// TestWalkKeys: key by key, as on kernels without batches, while keys vanish.
func TestWalkKeys(t *testing.T) {
	needBPF(t)
	fd, err := makeMap("", unix.BPF_MAP_TYPE_HASH, 4, 4, 1000, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o := &object{fd: fd, m: &mapInfo{kind: unix.BPF_MAP_TYPE_HASH, keySize: 4, valueSize: 4, maximum: 1000}}
	key := func(i uint32) []byte { return binary.NativeEndian.AppendUint32(make([]byte, 0, 8), i) }
	for i := range uint32(1000) {
		if err := o.element(unix.BPF_MAP_UPDATE_ELEM, key(i), key(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint32]int)
	err = o.walkKeys(func(k, v []byte) {
		i := binary.NativeEndian.Uint32(k)
		seen[i]++
		if len(seen)%100 == 0 { // the kernel begins anew after this
			o.element(unix.BPF_MAP_DELETE_ELEM, key(i), nil, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("key %d was there %d times", i, n)
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d keys", len(seen))
	}
}

// TestDumpMeanwhile: others insert and delete; what is there all the time is in
// each dump, once, and every dump ends.
func TestDumpMeanwhile(t *testing.T) {
	needBPF(t)
	fd, err := makeMap("", unix.BPF_MAP_TYPE_HASH, 4, 4, 4000, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o := &object{fd: fd, m: &mapInfo{kind: unix.BPF_MAP_TYPE_HASH, keySize: 4, valueSize: 4, maximum: 4000}}
	set := func(cmd int, i uint32) {
		k := binary.NativeEndian.AppendUint32(make([]byte, 0, 8), i)
		v := k
		if cmd == unix.BPF_MAP_DELETE_ELEM {
			v = nil
		}
		if err := o.element(cmd, k, v, 0); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
	}
	const lasting = 2000
	for i := range uint32(lasting) {
		set(unix.BPF_MAP_UPDATE_ELEM, i)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := uint32(0); ; i++ {
			select {
			case <-stop:
				return
			default:
				set(unix.BPF_MAP_UPDATE_ELEM, lasting+i%1000)
				set(unix.BPF_MAP_DELETE_ELEM, lasting+i%1000)
			}
		}
	}()
	for range 20 {
		seen := make(map[uint32]bool)
		err := o.walk(unix.BPF_MAP_LOOKUP_BATCH, func(k, v []byte) {
			i := binary.NativeEndian.Uint32(k)
			if seen[i] && i < lasting || binary.NativeEndian.Uint32(v) != i {
				t.Errorf("entry %d %x", i, v)
			}
			seen[i] = true
		})
		n := 0
		for i := range uint32(lasting) {
			if seen[i] {
				n++
			}
		}
		if err != nil || n != lasting {
			t.Fatalf("%v: %d of %d entries", err, n, lasting)
		}
	}
	close(stop)
	<-stopped
}

// TestTranslation: numbers become descriptors in instructions and in values.
func TestTranslation(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	c.want(3, "BPF_CREATE_MAP 1 4 8 10 0")              // hash
	c.want(4, "BPF_CREATE_MAP 3 4 4 2 0")               // program array
	c.want(5, "BPF_CREATE_MAP 4 4 4 2 0")               // perf event array
	c.want(6, "BPF_CREATE_MAP_IN_MAP 12 outer 4 2 0 3") // array of maps
	c.want(7, "BPF_PROG_LOAD 1 %s", nothing)            // socket filter
	c.want(8, "BPF_PROG_LOAD 1 name %s", nothing)       // the other dialect
	c.want(9, "BPF_OPEN_PERF_BUFFER -1 0 8")            //
	c.want(0, "BPF_UPDATE_ELEM 4 %s 4 %s 4 0", b64(0), b64(7))
	c.want(0, "BPF_UPDATE_ELEM 5 %s 4 %s 4 0", b64(0), b64(9))
	c.want(0, "BPF_UPDATE_ELEM 6 %s 4 %s 4 0", b64(0), b64(3))
	for _, m := range []int{4, 5, 6} {
		for _, v := range []uint32{0, 1, 2, 77, 1 << 31} {
			c.want(-1, "BPF_UPDATE_ELEM %d %s 4 %s 4 0", m, b64(0), b64(v))
		}
	}
	c.want(-1, "BPF_UPDATE_ELEM 4 %s 4 %s 4 0", b64(0), b64(9)) // a buffer is no program
	// A program that looks into map 3.
	look := func(fd int) string {
		return assemble(instruction(0x7a, 10, 0, -8, 1), instruction(0xbf, 2, 10, 0, 0), instruction(0x07, 2, 0, 0, -8),
			loadMap(1, fd), instruction(0x85, 0, 0, 0, 1), zero, exit)
	}
	c.want(10, "BPF_PROG_LOAD 1 %s", look(3))
	c.want(-1, "BPF_PROG_LOAD 1 %s", look(7))
	same(t, c.do("LAST_ERROR"), "last_error: ret=9", "BPF_PROG_LOAD: instruction 3: 7 is no map of this session: bad file descriptor")
	c.want(-1, "BPF_PROG_LOAD 1 %s", look(55))
	c.want(-1, "BPF_PROG_LOAD 1 %s", look(0))
}

// TestLoadFails: the reply is -1 and nothing else, and the log is there for who asks.
func TestLoadFails(t *testing.T) {
	needBPF(t)
	c := newClient(t)
	same(t, c.do("BPF_PROG_LOAD 1 bad %s", assemble(exit)), "bpf_prog_load: ret=-1")
	lines := c.do("LAST_ERROR")
	if len(lines) < 3 || !strings.Contains(strings.Join(lines[2:], "\n"), "R0 !read_ok") {
		t.Errorf("LAST_ERROR: %q", lines)
	}
	for _, line := range []string{
		"BPF_PROG_LOAD 1 16 GPL 1 AAAA", "BPF_PROG_LOAD 1 0 GPL 1 AAAAAAAAAAA=", "BPF_PROG_LOAD 1 7 GPL 1 AAAAAAAAAAA=",
		"BPF_PROG_LOAD 1 -8 GPL 1 AAAAAAAAAAA=", "BPF_PROG_LOAD 1 8 GPL 1 =", "BPF_PROG_LOAD 9999 " + nothing,
	} {
		c.want(-1, "%s", line)
	}
	c.want(3, "BPF_PROG_LOAD 1 some'name %s", nothing)
	// Words decide which dialect it is, not only how many there are.
	c.want(4, "BPF_PROG_LOAD 1 %s 0", nothing)
	c.want(5, "BPF_PROG_LOAD 1 8 %s 0", nothing)
	c.want(6, "BPF_PROG_LOAD 1 __none__ %s", nothing)
}

// TestLargeProgram: the kernel's limit counts, BPF_COMPLEXITY_LIMIT_INSNS of
// Linux 5.2; before that it was BPF_MAXINSNS.
func TestLargeProgram(t *testing.T) {
	needBPF(t)
	limit := 1_000_000
	if kernelVersion() < 5<<16|2<<8 {
		limit = 4096
	}
	c := newClient(t)
	insns := slices.Repeat([][]byte{zero}, limit)
	insns[limit-1] = exit
	c.want(3, "BPF_PROG_LOAD 1 %s", assemble(insns...))
	c.want(-1, "BPF_PROG_LOAD 1 %s", assemble(append([][]byte{zero}, insns...)...))
}

func TestVersionCode(t *testing.T) {
	for release, want := range map[string]uint32{"4.14.336-perf+": 4<<16 | 14<<8 | 255, "6.1": 6<<16 | 1<<8, "5.10.0-30-arm64": 5<<16 | 10<<8} {
		if got, err := versionCode(release); got != want || err != nil {
			t.Errorf("%s: %#x, %v", release, got, err)
		}
	}
	if _, err := versionCode("x"); err == nil {
		t.Error("x is a release")
	}
}
