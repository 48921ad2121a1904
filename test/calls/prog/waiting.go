package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	for name, w := range waiters {
		cases["wait-ring-"+name] = func() { waitRing(w) }
		cases["wait-perf-"+name] = func() { waitPerf(w) }
	}
	cases["wait-edge"] = waitEdge
	cases["wait-threads"] = waitThreads
	cases["wait-epoll-ctl"] = waitCtl
	cases["wait-always"] = waitAlways
	cases["wait-pidfd"] = waitPidfd
	cases["wait-many"] = waitMany
}

// waiters wait for one of some descriptors for at most ms milliseconds, for
// ever if that is negative, and return how many are ready.
var waiters = map[string]func(ms int, fds ...int) (int, error){
	"epoll": func(ms int, fds ...int) (int, error) {
		ep, err := unix.EpollCreate1(0)
		check("epoll_create", err)
		defer unix.Close(ep)
		for _, fd := range fds {
			check("epoll_ctl", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
		}
		return unix.EpollWait(ep, make([]unix.EpollEvent, 8), ms)
	},
	"poll":  func(ms int, fds ...int) (int, error) { return unix.Poll(pollFDs(fds), ms) },
	"ppoll": func(ms int, fds ...int) (int, error) { return unix.Ppoll(pollFDs(fds), timespec(ms), nil) },
	"select": func(ms int, fds ...int) (int, error) {
		var tv *unix.Timeval
		if ms >= 0 {
			v := unix.NsecToTimeval(int64(ms) * 1e6)
			tv = &v
		}
		set, n := fdSet(fds)
		return unix.Select(n, set, nil, nil, tv)
	},
	"pselect": func(ms int, fds ...int) (int, error) {
		set, n := fdSet(fds)
		return unix.Pselect(n, set, nil, nil, timespec(ms), nil)
	},
}

func pollFDs(fds []int) []unix.PollFd {
	var list []unix.PollFd
	for _, fd := range fds {
		list = append(list, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return list
}

func fdSet(fds []int) (*unix.FdSet, int) {
	set, n := &unix.FdSet{}, 0
	for _, fd := range fds {
		set.Set(fd)
		n = max(n, fd+1)
	}
	return set, n
}

func timespec(ms int) *unix.Timespec {
	if ms < 0 {
		return nil
	}
	ts := unix.NsecToTimespec(int64(ms) * 1e6)
	return &ts
}

// waiting calls w until a signal does not interrupt it: Go's runtime sends some.
func waiting(w func(int, ...int) (int, error), ms int, fds ...int) (int, error) {
	for {
		n, err := w(ms, fds...)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// enough is longer than anything takes that is to happen, in milliseconds.
const enough = 20000

func waitRing(w func(int, ...int) (int, error)) {
	r := newRing(page)
	values := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 4096, 1, 0)
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, output(r, values, 24))
	show3 := func(what string, ms int) {
		n, err := waiting(w, ms, r.fd)
		fmt.Println(what, n, err)
	}
	show3("nothing, not waiting", 0)
	show3("nothing, waiting", 50)
	testRun(prog)
	show3("one, not waiting", 0)
	fmt.Println(len(r.take()))
	show3("nothing again", 0)
	wake := after(prog)
	show3("woken", enough)
	wake.Wait()
	fmt.Println(len(r.take()))
	wake = after(prog)
	show3("woken from for ever", -1)
	wake.Wait()
	testRun(prog)
	fmt.Println("there are two", len(r.take()))
	show3("one is left", enough)
	fmt.Println(len(r.take()), r.take() == nil)
	show3("nothing is left", 20)
}

// after runs a program while the caller waits.
func after(prog int) *sync.WaitGroup {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		time.Sleep(50 * time.Millisecond)
		testRun(prog)
	}()
	return &wg
}

func waitPerf(w func(int, ...int) (int, error)) {
	rings, prog := emitter(16, page)
	var fds []int
	for _, p := range rings {
		fds = append(fds, p.fd)
	}
	take := func() int {
		n := 0
		for _, p := range rings {
			for p.take() != nil {
				n++
			}
		}
		return n
	}
	show3 := func(what string, ms int) {
		n, err := waiting(w, ms, fds...)
		fmt.Println(what, n, err)
	}
	show3("nothing, not waiting", 0)
	show3("nothing, waiting", 50)
	for range 3 {
		wake := after(prog)
		show3("woken", enough)
		wake.Wait()
		fmt.Println(take())
	}
	show3("nothing is left", 20)
}

// waitEdge waits for edges: what was there before does not count.
func waitEdge() {
	r := newRing(page)
	values := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 4096, 1, 0)
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, output(r, values, 24))
	ep, err := unix.EpollCreate1(0)
	check("epoll_create", err)
	check("epoll_ctl", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: 42}))
	wait := func(ms int, _ ...int) (int, error) {
		ev := make([]unix.EpollEvent, 8)
		n, err := unix.EpollWait(ep, ev, ms)
		if n > 0 && (ev[0].Fd != 42 || ev[0].Events&unix.EPOLLIN == 0) {
			fmt.Println("another event", ev[0])
		}
		return n, err
	}
	for range 3 {
		wake := after(prog)
		n, err := waiting(wait, enough)
		wake.Wait()
		fmt.Println(n, err)
		fmt.Println(len(r.take()))
	}
	n, err := waiting(wait, 20)
	fmt.Println("nothing", n, err)
}

// waitThreads has several threads wait for several rings.
func waitThreads() {
	var wg sync.WaitGroup
	results := make([]string, 4)
	for i := range results {
		r := newRing(page)
		values := createMap(unix.BPF_MAP_TYPE_ARRAY, 4, 4096, 1, 0)
		prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, output(r, values, 24))
		w := waiters[[]string{"epoll", "poll", "select", "ppoll"}[i]]
		wg.Add(1)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			got := 0
			for range 20 {
				wake := after(prog)
				if n, err := waiting(w, enough, r.fd); n == 1 && err == nil && len(r.take()) == 24 {
					got++
				}
				wake.Wait()
			}
			results[i] = fmt.Sprint(got)
		}()
	}
	wg.Wait()
	fmt.Println(results)
}

// waitCtl compares the errors of epoll_ctl.
func waitCtl() {
	r := newRing(page)
	ep, err := unix.EpollCreate1(0)
	check("epoll_create", err)
	ev := &unix.EpollEvent{Events: unix.EPOLLIN}
	show("delete before", unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, r.fd, nil))
	show("add", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r.fd, ev))
	show("add again", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r.fd, ev))
	show("modify", unix.EpollCtl(ep, unix.EPOLL_CTL_MOD, r.fd, ev))
	show("delete", unix.EpollCtl(ep, unix.EPOLL_CTL_DEL, r.fd, nil))
	show("no epoll instance", unix.EpollCtl(r.fd, unix.EPOLL_CTL_ADD, r.fd, ev))
	show("not open", unix.EpollCtl(99, unix.EPOLL_CTL_ADD, r.fd, ev))
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0))
	show("a program", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, prog, ev))
}

// waitAlways waits for what is always ready.
func waitAlways() {
	prog := loadProg(unix.BPF_PROG_TYPE_SOCKET_FILTER, returns(0))
	fds := []unix.PollFd{{Fd: int32(prog), Events: unix.POLLIN}, {Fd: -1}, {Fd: 99, Events: unix.POLLIN}}
	n, err := unix.Poll(fds, enough)
	fmt.Println(n, err, fds[0].Revents&unix.POLLIN != 0, fds[2].Revents == unix.POLLNVAL)
	// Placeholders among other descriptors.
	r := newRing(page)
	p := make([]int, 2)
	check("pipe", unix.Pipe(p))
	unix.Write(p[1], []byte("x"))
	fds = []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(p[0]), Events: unix.POLLIN}}
	n, err = unix.Poll(fds, enough)
	fmt.Println(n, err, fds[0].Revents, fds[1].Revents)
	set, max := fdSet([]int{r.fd, p[0]})
	n, err = unix.Select(max, set, nil, nil, &unix.Timeval{Sec: 20})
	fmt.Println(n, err, set.IsSet(r.fd), set.IsSet(p[0]))
}

// waitPidfd waits for a process.
func waitPidfd() {
	fd, err := unix.PidfdOpen(1, 0)
	check("pidfd_open", err)
	for _, name := range []string{"poll", "select", "epoll"} {
		n, err := waiting(waiters[name], 20, fd)
		fmt.Println(name, n, err)
	}
	_, err = unix.PidfdOpen(1<<22-1, 0)
	show("no process", err)
}

// waitMany has many threads wait in read(2), each on a file of its own, and makes
// other calls meanwhile.
func waitMany() {
	const readers = 300
	var begun sync.WaitGroup
	for range readers {
		fd, err := unix.Open("/proc/kmsg", unix.O_RDONLY, 0)
		check("open", err)
		begun.Add(1)
		go func() {
			b := make([]byte, 4096)
			begun.Done()
			for { // the kernel may log something
				if _, err := unix.Read(fd, b); err != nil && err != unix.EINTR {
					check("read", err)
				}
			}
		}()
	}
	begun.Wait()
	time.Sleep(time.Second)
	fd := filled(unix.BPF_MAP_TYPE_HASH, 3, 8)
	fmt.Println(len(walk(fd, 4, 8)))
	b, err := os.ReadFile("/sys/kernel/tracing/events/header_page")
	fmt.Println(len(b) > 0, err)
}
