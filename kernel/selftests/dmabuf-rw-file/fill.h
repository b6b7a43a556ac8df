/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of DMA_HEAP_FLAG_FILL share. Memory is full of STALE when it
 * is allocated, and nobody who looks at a buffer may see that.
 */
#include <signal.h>
#include <sys/klog.h>

#include "common.h"
#include "importer.h"

#define STALE		0xe7
#define MAX_SIZE	(3 * MIB)

static inline int fill_alloc(size_t len)
{
	int fd = heap_alloc(len, O_RDWR, DMA_HEAP_FLAG_FILL);

	if (fd < 0)
		err(KSFT_FAIL, "allocating with DMA_HEAP_FLAG_FILL");
	return fd;
}

/* The memory of the next buffers: the allocator returns first what was freed last. */
static inline void free_stale(int buf, size_t len)
{
	__u8 *map = buf_map(buf, len);

	memset(map, STALE, len);
	munmap(map, len);
	close(buf);
}

/* Fills most of what is free, half by the heap. */
static inline void make_memory_stale(void)
{
	const size_t len = 64 * MIB;
	pid_t pid = fork();
	int status;

	if (!pid) {
		size_t left = sysconf(_SC_AVPHYS_PAGES) / 4 * 3 * page;
		bool heap = false;

		for (; left > len; left -= len, heap = !heap) {
			int buf = heap ? heap_alloc(len, O_RDWR, 0) : -1;
			__u8 *map;

			if (buf >= 0) {
				map = buf_map(buf, len);
			} else {
				map = mmap(NULL, len, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
				if (map == MAP_FAILED)
					break;
				madvise(map, len, MADV_HUGEPAGE);
			}
			memset(map, STALE, len);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
}

/* Zeroes what the heap does not. */
static inline bool memory_is_cleared_anyway(void)
{
	const int size = klogctl(10, NULL, 0);
	char *log = calloc(1, size + 1);
	bool cleared;

	klogctl(3, log, size);
	cleared = strstr(log, "heap alloc:on") || strstr(log, "heap free:on");
	free(log);
	return cleared;
}

/* Only bytes of the file that starts at offset 0 of the buffer, and zeros. */
static inline bool file_or_zeros(const __u8 *got, size_t len, __u64 seed)
{
	__u8 want[4096];
	size_t i;

	for (i = 0; i < len; i++) {
		if (!(i % sizeof(want)))
			pattern(want, sizeof(want), i, seed);
		if (got[i] && got[i] != want[i % sizeof(want)]) {
			ksft_print_msg("byte %zu of %zu is %#x%s\n", i, len,
				       got[i], got[i] == STALE ? ": STALE" : "");
			return false;
		}
	}
	return true;
}

enum look { MAPPED, SAVED, SAVED_DIRECT, BY_KERNEL, BY_DEVICE, LOOKS };

/* Reads all of the buffer in one of the ways that there are. */
static inline bool look_at(int buf, enum look how, int dev, __u8 *got, size_t size)
{
	__u8 *map;
	int fd;

	switch (how) {
	case MAPPED:
		map = buf_map(buf, size);
		memcpy(got, map, size);
		munmap(map, size);
		return true;
	case SAVED:
	case SAVED_DIRECT:
		fd = file_open("saved", O_RDWR | O_CREAT | O_TRUNC);
		if (rw(buf, WRITE | (how == SAVED ? 0 : DIRECT), fd, 0, 0,
		       size))
			return false;
		if (pread(fd, got, size, 0) != (ssize_t)size)
			return false;
		close(fd);
		return true;
	case BY_KERNEL:
		return !dev_call(dev, TEST_VMAP, buf) &&
		       !dev_access(dev, TEST_VMAP_READ, 0, got, size) &&
		       !dev_call(dev, TEST_VUNMAP, 0);
	case BY_DEVICE:
		return !dev_call(dev, TEST_MAP, buf) &&
		       !dev_access(dev, TEST_DEV_READ, 0, got, size) &&
		       !dev_call(dev, TEST_DETACH, 0);
	default:
		return false;
	}
}

static inline int fill_main(int argc, char **argv)
{
	page = sysconf(_SC_PAGESIZE);
	if (heap_alloc(page, O_RDWR, DMA_HEAP_FLAG_FILL) < 0)
		ksft_exit_skip("the heap has no DMA_HEAP_FLAG_FILL\n");
	if (memory_is_cleared_anyway())
		ksft_exit_skip("init_on_alloc or init_on_free is on\n");
	make_memory_stale();
	return rw_file_main(argc, argv);
}
