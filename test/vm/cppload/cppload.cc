// A C++ program for tools to look at: functions with known arguments and
// results, memory that is allocated and kept, and a lock that is fought over.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>

namespace load {

std::mutex lock;

// Called with 21 and "twenty-one", returns 42.
__attribute__((noinline)) int twice(int n, const char *name) {
	asm volatile("" : : "r"(name));
	return 2 * n;
}

// Allocates 4321 bytes that are never freed.
__attribute__((noinline)) void *leak() { return malloc(4321); }

void fight() {
	for (;;) {
		std::lock_guard<std::mutex> held(lock);
		std::this_thread::sleep_for(std::chrono::milliseconds(50));
	}
}

} // namespace load

extern "C" __attribute__((noinline)) int known_function(int n) {
	asm volatile("");
	return n + 1;
}

int main() {
	std::thread(load::fight).detach();
	std::thread(load::fight).detach();
	for (int round = 0;; round++) {
		if (load::twice(21, "twenty-one") != 42 || known_function(99) != 100)
			return 1;
		if (round % 4 == 0)
			*static_cast<char *>(load::leak()) = 1;
		std::string s(1000, 'x'); // by new and delete
		int fd = open("/etc/hostname", O_RDONLY);
		if (fd >= 0)
			close(fd);
		usleep(200000);
	}
}
