/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of DMA_BUF_IOCTL_RW_FILE share. The harness runs each test in
 * a process of its own, which closes descriptors and removes mappings when it
 * ends, and the fixture removes files.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"

#define READ		DMA_BUF_RW_FLAGS_READ
#define WRITE		DMA_BUF_RW_FLAGS_WRITE
#define ATTACHED	DMA_BUF_RW_FLAGS_ATTACHED
#define DIRECT		DMA_BUF_RW_FLAGS_DIRECT
#define MIB		(1024ULL * 1024)
#define CHUNK		(64 * MIB)
#define GUARD		0xa5

static size_t page;

/* The machine does not let the test run; not what is tested. */
#define REQUIRE(cond) do {						\
	if (!(cond))							\
		SKIP(return, "%s: %s", #cond, strerror(errno));		\
} while (0)

/* 0 or -errno; a positive value would break the ABI and shows as such. */
static inline int rw(int buf, __u32 flags, int fd, __u64 file_offset,
		     __u64 buf_offset, __u64 len)
{
	struct dma_buf_rw_file arg = {
		.flags = flags,
		.fd = fd,
		.file_offset = file_offset,
		.buf_offset = buf_offset,
		.buf_len = len,
	};
	int ret = ioctl(buf, DMA_BUF_IOCTL_RW_FILE, &arg);

	return ret < 0 ? -errno : ret;
}

/* The same for @count extents. */
static inline int rw_extents(int buf, __u32 flags, int fd,
			     struct dma_buf_rw_extent *extents, __u32 count)
{
	struct dma_buf_rw_extents arg = {
		.flags = flags,
		.fd = fd,
		.count = count,
		.extents = (uintptr_t)extents,
	};
	int ret = ioctl(buf, DMA_BUF_IOCTL_RW_EXTENTS, &arg);

	return ret < 0 ? -errno : ret;
}

static inline int heap_alloc(size_t len, int fd_flags, __u64 heap_flags)
{
	struct dma_heap_allocation_data data = {
		.len = len,
		.fd_flags = fd_flags | O_CLOEXEC,
		.heap_flags = heap_flags,
	};
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);

	if (heap < 0)
		return -1;
	if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) < 0) {
		close(heap);
		return -1;
	}
	close(heap);
	return data.fd;
}

static inline int buf_alloc_flags(size_t len, int fd_flags)
{
	return heap_alloc(len, fd_flags, 0);
}

static inline int buf_alloc(size_t len)
{
	int fd = buf_alloc_flags(len, O_RDWR);

	if (fd < 0)
		err(KSFT_FAIL, "allocating from the system heap");
	return fd;
}

static inline void buf_sync(int buf, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	if (ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		err(KSFT_FAIL, "DMA_BUF_IOCTL_SYNC");
}

static inline __u8 *buf_map(int buf, size_t len)
{
	__u8 *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);

	if (p == MAP_FAILED)
		err(KSFT_FAIL, "mmap of the dma-buf");
	return p;
}

static inline void buf_fill(int buf, __u8 *map, size_t len, int byte)
{
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	memset(map, byte, len);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
}

/* Every 8 bytes differ from every other, and from any earlier seed. */
static inline void pattern(void *dst, size_t len, __u64 pos, __u64 seed)
{
	__u8 *p = dst;
	size_t i;

	for (i = 0; i < len; ) {
		__u64 word = ((pos + i) / 8 + seed) * 0x9e3779b97f4a7c15ULL;
		size_t in = (pos + i) % 8, n = 8 - in;

		if (n > len - i)
			n = len - i;
		memcpy(p + i, (__u8 *)&word + in, n);
		i += n;
	}
}

static inline bool has_pattern(const void *got, size_t len, __u64 pos,
			       __u64 seed)
{
	const __u8 *p = got;
	__u8 want[4096];
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = len - i < sizeof(want) ? len - i : sizeof(want);
		pattern(want, n, pos + i, seed);
		if (memcmp(p + i, want, n)) {
			ksft_print_msg("differs near offset %zu of %zu\n", i,
				       len);
			return false;
		}
	}
	return true;
}

static inline bool all_bytes(const __u8 *p, size_t len, int byte)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] != byte) {
			ksft_print_msg("byte %zu of %zu is %#x, want %#x\n",
				       i, len, p[i], byte);
			return false;
		}
	}
	return true;
}

static inline int file_open(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		err(KSFT_FAIL, "%s", name);
	return fd;
}

/* A new file with a pattern, on the disk and not in the page cache. */
static inline int file_make(const char *name, __u64 len, __u64 seed)
{
	int fd;
	__u64 pos;
	__u8 *block = malloc(MIB);

	unlink(name);
	fd = file_open(name, O_RDWR | O_CREAT | O_EXCL);
	for (pos = 0; pos < len; ) {
		size_t n = len - pos < MIB ? len - pos : MIB;

		pattern(block, n, pos, seed);
		if (pwrite(fd, block, n, pos) != (ssize_t)n)
			err(KSFT_FAIL, "writing the test file");
		pos += n;
	}
	free(block);
	if (fsync(fd))
		err(KSFT_FAIL, "fsync");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd;
}

/* Reads back through the page cache, not the way it was written. */
static inline bool file_has_pattern(int fd, __u64 pos, size_t len,
				    __u64 pattern_pos, __u64 seed)
{
	__u8 *block = malloc(len);
	bool same;

	if (pread(fd, block, len, pos) != (ssize_t)len) {
		ksft_print_msg("short read back at %llu\n", pos);
		free(block);
		return false;
	}
	same = has_pattern(block, len, pattern_pos, seed);
	free(block);
	return same;
}

static inline void sleep_ms(int ms)
{
	usleep(ms * 1000);
}

static long tainted(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");
	long v = 0;

	if (f) {
		if (fscanf(f, "%ld", &v) != 1)
			v = 0;
		fclose(f);
	}
	return v & (1 << 9 | 1 << 7);
}

static inline bool write_text(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static inline void mount_if_missing(const char *type, const char *where,
				    const char *proof)
{
	if (access(proof, F_OK))
		mount(type, where, type, 0, NULL);
}

/* Each test has a folder of its own, in the one that the program starts in. */
FIXTURE(rw_file) {
	char dir[32];
	long taint;
};

FIXTURE_SETUP(rw_file)
{
	strcpy(self->dir, "rw_file.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, chdir(self->dir));
	self->taint = tainted();
}

static int remove_one(const char *name, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(name);
}

/* In the parent, so that it also happens when the test exits early. */
FIXTURE_TEARDOWN_PARENT(rw_file)
{
	/* The kernel did not warn. */
	EXPECT_EQ(self->taint, tainted());
	EXPECT_EQ(0, nftw(self->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS));
}

/* Emulated machines with a debugging kernel need more than 30 seconds. */
#define RW_FILE_TEST(name) TEST_F_TIMEOUT(rw_file, name, 600)

static inline int rw_file_main(int argc, char **argv)
{
	int buf;

	page = sysconf(_SC_PAGESIZE);
	buf = buf_alloc_flags(page, O_RDWR);
	if (buf < 0)
		ksft_exit_skip("no system heap: %s\n", strerror(errno));
	if (rw(buf, READ | DIRECT, -1, 0, 0, page) == -ENOTTY)
		ksft_exit_skip("the kernel has no DMA_BUF_IOCTL_RW_FILE\n");
	close(buf);
	return test_harness_run(argc, argv);
}
