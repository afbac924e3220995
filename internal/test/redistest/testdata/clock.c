// Preloaded into redis-server, this moves its wall clock by the seconds that are in the file CLOCK_FILE, as an int64.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *off;

__attribute__((constructor)) static void begin(void) {
	int file = open(getenv("CLOCK_FILE"), O_RDONLY);
	void *at = mmap(NULL, sizeof *off, PROT_READ, MAP_SHARED, file, 0);
	if (file < 0 || at == MAP_FAILED) abort();
	off = at;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	struct timespec now;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
	tv->tv_sec = now.tv_sec + (off ? *off : 0);
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
