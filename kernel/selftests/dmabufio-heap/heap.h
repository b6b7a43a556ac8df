/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the heap of kernel/module share.
 *
 * Every new buffer is zeroed. So a page that went to a new buffer while I/O
 * still wrote to it shows there as data that nobody wrote.
 */
#ifndef DMABUFIO_HEAP_H
#define DMABUFIO_HEAP_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAP	"/dev/dma_heap/system-direct"
#define HUGE	(2UL << 20)

static int buf_alloc(size_t len)
{
	struct dma_heap_allocation_data data = {
		.len = len,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int heap = open(HEAP, O_RDONLY | O_CLOEXEC);

	if (heap < 0)
		return -1;
	if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) < 0) {
		close(heap);
		return -1;
	}
	close(heap);
	return data.fd;
}

/* Maps a buffer @skew bytes after an address that huge pages fit. */
static void *buf_map(int buf, size_t len, size_t skew)
{
	char *p = mmap(NULL, len + 2 * HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return p;
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1)) + skew;
	return mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    buf, 0);
}

static bool all_are(const void *p, size_t len, unsigned char byte)
{
	const unsigned char *c = p;

	return !len || (*c == byte && !memcmp(c, c + 1, len - 1));
}

/* What a new buffer has, now and as long as I/O of before could run. */
static bool new_buffer_stays_zeroed(size_t len)
{
	int buf = buf_alloc(len);
	void *map = buf_map(buf, len, 0);
	bool zeroed;

	if (map == MAP_FAILED)
		return false;
	zeroed = all_are(map, len, 0);
	usleep(20000);
	zeroed = zeroed && all_are(map, len, 0);
	munmap(map, len);
	close(buf);
	return zeroed;
}

static long mem_free_kib(void)
{
	char line[128];
	long kib = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemFree: %ld kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

/*
 * Starts a read into a registered buffer, by a ring of one entry that has done
 * nothing before, and waits for its end if @wait. NULL or what failed.
 */
static const char *ring_read(int ring, struct io_uring_params *params, int file,
			     void *to, size_t len, bool wait)
{
	size_t size = params->sq_off.array + params->sq_entries * sizeof(__u32);
	size_t cq_size = params->cq_off.cqes +
			 params->cq_entries * sizeof(struct io_uring_cqe);
	char *sq = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, sizeof(*sqe),
					PROT_READ | PROT_WRITE, MAP_SHARED,
					ring, IORING_OFF_SQES);
	struct io_uring_cqe *cqe;

	if (sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED)
		return "mmap of the ring";
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = file;
	sqe->addr = (uintptr_t)to;
	sqe->len = len;
	((__u32 *)(sq + params->sq_off.array))[0] = 0;
	__atomic_store_n((__u32 *)(sq + params->sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, 1, wait,
		    wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0) != 1)
		return "io_uring_enter";
	cqe = (struct io_uring_cqe *)(cq + params->cq_off.cqes);
	return !wait || cqe->res == (int)len ? NULL : "the read";
}

#endif
