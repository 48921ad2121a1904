/* A program to probe. With PADDING the function is elsewhere in the file. */
#include <unistd.h>

#ifdef PADDING
__attribute__((noinline)) int padding(int n) { return n * PADDING; }
#endif

__attribute__((noinline)) int probed(int n)
{
	return n + 1;
}

int main(int argc, char **argv)
{
	return probed(argc) + sleep(1000);
}
