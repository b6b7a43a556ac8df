// SPDX-License-Identifier: GPL-2.0
/*
 * Tests DMA_BUF_IOCTL_RW_FILE of the system heap: what it refuses and in which
 * order, what it transfers, and what it does not hold up while it runs.
 *
 * usage: rw_file DIR [TEST...]  DIR lies on the file system under test
 *        rw_file --stock        the kernel must not have the ioctl
 *
 * Prints TAP. Exit status: 0 passed, 1 failed, 4 nothing could be tested. Needs
 * root; a test whose means are missing is skipped and says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/loop.h>
#include <linux/udmabuf.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dma-buf-rw-file.h"

_Static_assert(sizeof(struct dma_buf_rw_file) == 32, "size");
_Static_assert(offsetof(struct dma_buf_rw_file, flags) == 0, "flags");
_Static_assert(offsetof(struct dma_buf_rw_file, fd) == 4, "fd");
_Static_assert(offsetof(struct dma_buf_rw_file, file_offset) == 8, "file_offset");
_Static_assert(offsetof(struct dma_buf_rw_file, buf_offset) == 16, "buf_offset");
_Static_assert(offsetof(struct dma_buf_rw_file, buf_len) == 24, "buf_len");

#define READ		DMA_BUF_RW_FLAGS_READ
#define WRITE		DMA_BUF_RW_FLAGS_WRITE
#define DIRECT		DMA_BUF_RW_FLAGS_DIRECT
#define MIB		(1024ULL * 1024)
#define CHUNK		(64 * MIB)
#define GUARD		0xa5

/* The test importer, drivers/dma-buf/dma-buf-rw-file-test.c. */
#define TEST_DEVICE	"/dev/dma_buf_rw_test"
#define TEST_ATTACH	_IOW(0xdb, 0, __s32)
#define TEST_DETACH	_IO(0xdb, 1)
#define TEST_VMAP	_IOW(0xdb, 2, __s32)
#define TEST_VUNMAP	_IO(0xdb, 3)

/* drivers/dma-buf/sw_sync.c has no uapi header. */
#define SW_SYNC_DEVICE	"/sys/kernel/debug/sync/sw_sync"
struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};
#define SW_SYNC_CREATE	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_INC	_IOW('W', 1, __u32)

/* Headers older than Linux 6.0 do not have them. */
#ifndef DMA_BUF_IOCTL_IMPORT_SYNC_FILE
struct dma_buf_import_sync_file {
	__u32 flags;
	__s32 fd;
};
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE \
	_IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

static const char *dir;
static size_t page;
static int test_nr;
static bool test_failed;
static char skip_reason[256];

static void diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

#define FAIL(fmt, ...) do {						\
	test_failed = true;						\
	diag("line %d: " fmt, __LINE__, ##__VA_ARGS__);			\
} while (0)

/* Goes on, so that one run shows everything that is wrong. */
#define EXPECT(got, want) do {						\
	long _got = (got), _want = (want);				\
									\
	if (_got != _want)						\
		FAIL("%s is %ld (%s), want %ld (%s)", #got, _got,	\
		     _got < 0 ? strerror(-_got) : "ok", _want,		\
		     _want < 0 ? strerror(-_want) : "ok");		\
} while (0)

#define CHECK(cond) do {						\
	if (!(cond))							\
		FAIL("not true: %s", #cond);				\
} while (0)

/* The machine does not let the test run; not what is tested. */
#define REQUIRE(cond) do {						\
	if (!(cond)) {							\
		snprintf(skip_reason, sizeof(skip_reason),		\
			 "line %d: %s: %s", __LINE__, #cond,		\
			 strerror(errno));				\
		return;							\
	}								\
} while (0)

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

/* 0 or -errno; a positive value would break the ABI and shows as such. */
static int rw(int buf, __u32 flags, int fd, __u64 file_offset,
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

static int buf_alloc_flags(size_t len, int fd_flags)
{
	struct dma_heap_allocation_data data = {
		.len = len,
		.fd_flags = fd_flags | O_CLOEXEC,
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

static int buf_alloc(size_t len)
{
	int fd = buf_alloc_flags(len, O_RDWR);

	if (fd < 0)
		die("allocating from the system heap");
	return fd;
}

static void buf_sync(int buf, __u64 flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	if (ioctl(buf, DMA_BUF_IOCTL_SYNC, &sync) < 0)
		die("DMA_BUF_IOCTL_SYNC");
}

static uint8_t *buf_map(int buf, size_t len)
{
	uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);

	if (p == MAP_FAILED)
		die("mmap of the dma-buf");
	return p;
}

static void buf_fill(int buf, uint8_t *map, size_t len, int byte)
{
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	memset(map, byte, len);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
}

/* Every 8 bytes differ from every other, and from any earlier seed. */
static void pattern(void *dst, size_t len, uint64_t pos, uint64_t seed)
{
	uint8_t *p = dst;
	size_t i;

	for (i = 0; i < len; ) {
		uint64_t word = ((pos + i) / 8 + seed) * 0x9e3779b97f4a7c15ULL;
		size_t in = (pos + i) % 8, n = 8 - in;

		if (n > len - i)
			n = len - i;
		memcpy(p + i, (uint8_t *)&word + in, n);
		i += n;
	}
}

static bool has_pattern(const void *got, size_t len, uint64_t pos,
			uint64_t seed)
{
	const uint8_t *p = got;
	uint8_t want[4096];
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = len - i < sizeof(want) ? len - i : sizeof(want);
		pattern(want, n, pos + i, seed);
		if (memcmp(p + i, want, n)) {
			diag("differs near offset %zu of %zu", i, len);
			return false;
		}
	}
	return true;
}

static bool all_bytes(const uint8_t *p, size_t len, int byte)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] != byte) {
			diag("byte %zu of %zu is %#x, want %#x", i, len, p[i],
			     byte);
			return false;
		}
	}
	return true;
}

static void file_name(char *name, size_t len, const char *tag)
{
	snprintf(name, len, "%s/rw_file.%s", dir, tag);
}

static int file_open(const char *tag, int flags)
{
	char name[4096];
	int fd;

	file_name(name, sizeof(name), tag);
	fd = open(name, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		die(name);
	return fd;
}

static void file_remove(const char *tag)
{
	char name[4096];

	file_name(name, sizeof(name), tag);
	unlink(name);
}

/* A new file with a pattern, on the disk and not in the page cache. */
static int file_make(const char *tag, uint64_t len, uint64_t seed)
{
	int fd;
	uint64_t pos;
	uint8_t *block = malloc(MIB);

	file_remove(tag);
	fd = file_open(tag, O_RDWR | O_CREAT | O_EXCL);
	for (pos = 0; pos < len; ) {
		size_t n = len - pos < MIB ? len - pos : MIB;

		pattern(block, n, pos, seed);
		if (pwrite(fd, block, n, pos) != (ssize_t)n)
			die("writing the test file");
		pos += n;
	}
	free(block);
	if (fsync(fd))
		die("fsync");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd;
}

/* Reads back through the page cache, not the way it was written. */
static bool file_has_pattern(int fd, uint64_t pos, size_t len,
			     uint64_t pattern_pos, uint64_t seed)
{
	uint8_t *block = malloc(len);
	bool same;

	if (pread(fd, block, len, pos) != (ssize_t)len) {
		diag("short read back at %llu", (unsigned long long)pos);
		free(block);
		return false;
	}
	same = has_pattern(block, len, pattern_pos, seed);
	free(block);
	return same;
}

static void sleep_ms(int ms)
{
	usleep(ms * 1000);
}

/* One call on a thread of its own, so that it can be seen to block. */
struct job {
	pthread_t thread;
	int buf, fd, dev;
	unsigned long cmd;
	__u32 flags;
	__u64 file_offset, buf_offset, len;
	int ret;
	atomic_bool done;
};

static void *job_main(void *arg)
{
	struct job *job = arg;

	if (job->cmd) {
		__s32 fd = job->buf;

		job->ret = ioctl(job->dev, job->cmd, &fd) ? -errno : 0;
	} else {
		job->ret = rw(job->buf, job->flags, job->fd, job->file_offset,
			      job->buf_offset, job->len);
	}
	atomic_store(&job->done, true);
	return NULL;
}

static void job_start(struct job *job)
{
	atomic_store(&job->done, false);
	if (pthread_create(&job->thread, NULL, job_main, job))
		die("pthread_create");
}

static bool job_done_within(struct job *job, int ms)
{
	while (ms > 0 && !atomic_load(&job->done)) {
		sleep_ms(10);
		ms -= 10;
	}
	return atomic_load(&job->done);
}

/* What must happen is given long, what must not is watched for 300 ms. */
#define SOON	20000
#define A_WHILE	300

static int job_result(struct job *job)
{
	pthread_join(job->thread, NULL);
	return job->ret;
}

static int wait_child(pid_t pid, int ms)
{
	int status;

	for (; ms > 0; ms -= 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		sleep_ms(10);
	}
	return -1;
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

static void mount_if_missing(const char *type, const char *where,
			     const char *proof)
{
	if (access(proof, F_OK))
		mount(type, where, type, 0, NULL);
}

/* ---- what is refused ---- */

static void test_abi(void)
{
	EXPECT(DMA_BUF_IOCTL_RW_FILE, _IOW('b', 4, struct dma_buf_rw_file));
#if defined(__x86_64__) || defined(__i386__) || defined(__arm__) || \
	defined(__aarch64__) || defined(__riscv)
	EXPECT(DMA_BUF_IOCTL_RW_FILE, 0x40206204);
#endif
	EXPECT(DMA_BUF_RW_FLAGS_OP_MASK, 0xff);
	EXPECT(READ, 1);
	EXPECT(WRITE, 2);
	EXPECT(DIRECT, 0x80000000L);
}

static int udmabuf_create(size_t len)
{
	struct udmabuf_create create = { .size = len };
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int mem = memfd_create("rw_file", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int fd = -1;

	if (dev >= 0 && mem >= 0 && !ftruncate(mem, len) &&
	    !fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK)) {
		create.memfd = mem;
		fd = ioctl(dev, UDMABUF_CREATE, &create);
	}
	if (dev >= 0)
		close(dev);
	if (mem >= 0)
		close(mem);
	return fd;
}

static void test_probe(void)
{
	int buf = buf_alloc(page);

	EXPECT(rw(buf, READ | DIRECT, -1, 0, 0, page), -EBADF);
	EXPECT(rw(buf, WRITE | DIRECT, -1, 0, 0, page), -EBADF);
	EXPECT(rw(buf, READ, -1, 0, 0, page), -EBADF);
	close(buf);
}

static void test_other_exporter(void)
{
	int buf = udmabuf_create(page);

	REQUIRE(buf >= 0);
	EXPECT(rw(buf, READ | DIRECT, -1, 0, 0, page), -EINVAL);
	/* The argument is fetched first. */
	EXPECT(ioctl(buf, DMA_BUF_IOCTL_RW_FILE, (void *)1) ? -errno : 0,
	       -EFAULT);
	close(buf);
}

static void test_fault(void)
{
	uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int buf = buf_alloc(page);

	munmap(p + page, page);
	EXPECT(ioctl(buf, DMA_BUF_IOCTL_RW_FILE, NULL) ? -errno : 0, -EFAULT);
	EXPECT(ioctl(buf, DMA_BUF_IOCTL_RW_FILE, p + page - 31) ? -errno : 0,
	       -EFAULT);
	munmap(p, page);
	close(buf);
}

/* With fd -1, whatever is found later than the argument itself is EBADF. */
static void test_flags(void)
{
	int buf = buf_alloc(page), bit, op;

	for (op = 0; op < 256; op++)
		EXPECT(rw(buf, op, -1, 0, 0, page),
		       op == READ || op == WRITE ? -EBADF : -EINVAL);
	for (bit = 8; bit < 31; bit++) {
		EXPECT(rw(buf, READ | 1u << bit, -1, 0, 0, page), -EINVAL);
		EXPECT(rw(buf, WRITE | DIRECT | 1u << bit, -1, 0, 0, page),
		       -EINVAL);
	}
	close(buf);
}

static void test_alignment(void)
{
	size_t len = 4 * page, i;
	int buf = buf_alloc(len);
	const size_t off_by[] = { 1, 512, page / 2, page - 1 };

	for (i = 0; i < sizeof(off_by) / sizeof(*off_by); i++) {
		size_t n = off_by[i];

		EXPECT(rw(buf, READ | DIRECT, -1, n, 0, page), -EINVAL);
		EXPECT(rw(buf, READ | DIRECT, -1, 0, n, page), -EINVAL);
		EXPECT(rw(buf, READ | DIRECT, -1, 0, 0, n), -EINVAL);
		EXPECT(rw(buf, WRITE | DIRECT, -1, n, n, n), -EINVAL);
		EXPECT(rw(buf, READ, -1, n, 0, page), -EBADF);
		EXPECT(rw(buf, READ, -1, 0, n, page), -EBADF);
		EXPECT(rw(buf, WRITE, -1, 0, 0, n), -EBADF);
	}
	close(buf);
}

static void test_range(void)
{
	size_t len = 4 * page;
	int buf = buf_alloc(len);
	__u32 direct;

	for (direct = 0; ; direct = DIRECT) {
		EXPECT(rw(buf, READ | direct, -1, 0, 0, 0), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, len, page), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, len, 0), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, len + page, page), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, 0, len + page), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, page, len), -EINVAL);
		/* The sum wraps to something small. */
		EXPECT(rw(buf, READ | direct, -1, 0, page, -(__u64)page), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, -(__u64)page, 2 * page),
		       -EINVAL);
		/* Fits if the upper half gets lost. */
		EXPECT(rw(buf, READ | direct, -1, 0, 0, (1ULL << 32) + page),
		       -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, 1ULL << 32, page), -EINVAL);
		EXPECT(rw(buf, READ | direct, -1, 0, 0, len), -EBADF);
		EXPECT(rw(buf, READ | direct, -1, 0, len - page, page), -EBADF);
		if (direct)
			break;
	}
	EXPECT(rw(buf, READ, -1, 0, len - 1, 1), -EBADF);
	EXPECT(rw(buf, READ, -1, 0, len - 1, 2), -EINVAL);
	close(buf);
}

static void test_file_offset(void)
{
	const __u64 max = INT64_MAX;
	int buf = buf_alloc(2 * page);

	EXPECT(rw(buf, READ, -1, max + 1, 0, 1), -EINVAL);
	EXPECT(rw(buf, READ, -1, UINT64_MAX, 0, 1), -EINVAL);
	EXPECT(rw(buf, READ, -1, max, 0, 1), -EINVAL);
	EXPECT(rw(buf, READ, -1, max - page + 1, 0, page), -EINVAL);
	EXPECT(rw(buf, READ | DIRECT, -1, max + 1 - page, 0, page), -EINVAL);
	EXPECT(rw(buf, READ | DIRECT, -1, -(__u64)page, 0, page), -EINVAL);
	EXPECT(rw(buf, READ, -1, max - page, 0, page), -EBADF);
	EXPECT(rw(buf, READ | DIRECT, -1, max + 1 - 2 * page, 0, page), -EBADF);
	close(buf);
}

static void test_access_mode(void)
{
	int ro = buf_alloc_flags(page, O_RDONLY);
	int wo = buf_alloc_flags(page, O_WRONLY);
	int fd = file_make("mode", page, 1);
	__u64 first;

	REQUIRE(ro >= 0 && wo >= 0);
	EXPECT(rw(ro, READ, -1, 0, 0, page), -EACCES);
	EXPECT(rw(ro, READ, fd, 0, 0, page), -EACCES);
	EXPECT(rw(wo, WRITE, -1, 0, 0, page), -EACCES);
	EXPECT(rw(wo, WRITE | DIRECT, fd, 0, 0, page), -EACCES);
	/* Bad arguments come first. */
	EXPECT(rw(ro, READ, -1, 0, 0, page + 1), -EINVAL);
	EXPECT(rw(ro, READ, -1, UINT64_MAX, 0, page), -EINVAL);
	EXPECT(rw(ro, WRITE, -1, 0, 0, page), -EBADF);
	EXPECT(rw(wo, READ, -1, 0, 0, page), -EBADF);
	EXPECT(rw(wo, READ, fd, 0, 0, page), 0);
	EXPECT(rw(ro, WRITE, fd, 0, 0, page), 0);
	/* A buffer that could never be written to holds zeros. */
	if (pread(fd, &first, sizeof(first), 8) != sizeof(first))
		die("pread");
	EXPECT(first, 0);
	close(ro);
	close(wo);
	close(fd);
	file_remove("mode");
}

static void expect_both(int line, int buf, int fd, int read, int write)
{
	__u32 direct;

	for (direct = 0; ; direct = DIRECT) {
		int r = rw(buf, READ | direct, fd, 0, 0, page);
		int w = rw(buf, WRITE | direct, fd, 0, 0, page);

		if (r != read || w != write)
			FAIL("called at line %d, direct %d: READ is %d, want %d; WRITE is %d, want %d",
			     line, !!direct, r, read, w, write);
		if (direct)
			break;
	}
}

static void test_file_kinds(void)
{
	int buf = buf_alloc(page), other = buf_alloc(page);
	int fd, pair[2];

	fd = file_make("kinds", page, 2);
	close(fd);
	expect_both(__LINE__, buf, fd, -EBADF, -EBADF);

	fd = file_open("kinds", O_PATH);
	expect_both(__LINE__, buf, fd, -EBADF, -EBADF);
	close(fd);

	fd = open(dir, O_RDONLY | O_DIRECTORY);
	expect_both(__LINE__, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	if (pipe(pair))
		die("pipe");
	expect_both(__LINE__, buf, pair[0], -EINVAL, -EINVAL);
	expect_both(__LINE__, buf, pair[1], -EINVAL, -EINVAL);
	close(pair[0]);
	close(pair[1]);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("socketpair");
	expect_both(__LINE__, buf, pair[0], -EINVAL, -EINVAL);
	close(pair[0]);
	close(pair[1]);

	fd = open("/dev/null", O_RDWR);
	expect_both(__LINE__, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	fd = open("/dev/zero", O_RDWR);
	expect_both(__LINE__, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	fd = eventfd(1, 0);
	expect_both(__LINE__, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	expect_both(__LINE__, buf, buf, -EINVAL, -EINVAL);
	expect_both(__LINE__, buf, other, -EINVAL, -EINVAL);

	fd = file_open("kinds", O_RDONLY);
	expect_both(__LINE__, buf, fd, 0, -EBADF);
	close(fd);

	fd = file_open("kinds", O_WRONLY);
	expect_both(__LINE__, buf, fd, -EBADF, 0);
	close(fd);

	fd = memfd_create("rw_file", MFD_CLOEXEC);
	if (ftruncate(fd, page))
		die("ftruncate");
	EXPECT(rw(buf, READ, fd, 0, 0, page), 0);
	EXPECT(rw(buf, WRITE, fd, 0, 0, page), 0);
	close(fd);

	close(buf);
	close(other);
	file_remove("kinds");
}

static void test_append(void)
{
	int buf = buf_alloc(page);
	int fd = file_make("append", page, 3);
	struct stat st;

	close(fd);
	fd = file_open("append", O_RDWR | O_APPEND);
	expect_both(__LINE__, buf, fd, 0, -EBADF);
	fcntl(fd, F_SETFL, 0);
	EXPECT(rw(buf, WRITE, fd, 0, 0, page), 0);
	fcntl(fd, F_SETFL, O_APPEND);
	EXPECT(rw(buf, WRITE, fd, 0, 0, page), -EBADF);
	CHECK(!fstat(fd, &st) && st.st_size == (off_t)page);
	close(fd);
	close(buf);
	file_remove("append");
}

/* A file below /proc is regular but cannot do direct I/O. */
static void test_no_direct(void)
{
	int buf = buf_alloc(page);
	uint8_t *map = buf_map(buf, page);
	int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, page), -EINVAL);
	EXPECT(rw(buf, READ, fd, 0, 0, page), 0);
	CHECK(!memcmp(map, "Linux version", 13));
	close(fd);
	munmap(map, page);
	close(buf);
}

static void test_swapfile(void)
{
	const size_t len = 8 * MIB;
	union {
		struct {
			char boot[1024];
			__u32 version, last_page, nr_badpages;
		} info;
		char bytes[65536];
	} *header = calloc(1, sizeof(*header));
	int buf = buf_alloc(page);
	int fd = file_make("swap", len, 4);
	char name[4096];

	header->info.version = 1;
	header->info.last_page = len / page - 1;
	memcpy(header->bytes + page - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, header, page, 0) != (ssize_t)page || fsync(fd))
		die("swap header");
	free(header);
	file_name(name, sizeof(name), "swap");
	if (swapon(name, 0)) {
		snprintf(skip_reason, sizeof(skip_reason), "swapon: %s",
			 strerror(errno));
	} else {
		expect_both(__LINE__, buf, fd, -ETXTBSY, -ETXTBSY);
		swapoff(name);
	}
	close(fd);
	close(buf);
	file_remove("swap");
}

/* ---- what is transferred ---- */

/* One of each order that the heap allocates: 1 MiB, 64 KiB, single pages. */
static size_t mixed_len(void)
{
	return 2 * MIB + 3 * 65536 + 5 * 4096;
}

/*
 * Transfer both ways, check the range against the file, and everything around
 * the range against what was there.
 */
static void check_range(int buf, uint8_t *map, size_t size, int fd,
			__u32 direct, uint64_t file_offset, uint64_t buf_offset,
			size_t len)
{
	static uint64_t seed = 1000;
	int out = file_open("out", O_RDWR | O_CREAT);
	bool same;

	buf_fill(buf, map, size, GUARD);
	EXPECT(rw(buf, READ | direct, fd, file_offset, buf_offset, len), 0);
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	same = has_pattern(map + buf_offset, len, file_offset, 5) &&
	       all_bytes(map, buf_offset, GUARD) &&
	       all_bytes(map + buf_offset + len, size - buf_offset - len, GUARD);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);

	seed += size;
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	pattern(map, size, 0, seed);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
	EXPECT(rw(buf, WRITE | direct, out, file_offset, buf_offset, len), 0);
	same = same && file_has_pattern(out, file_offset, len, buf_offset, seed);
	if (!same)
		FAIL("direct %d file_offset %llu buf_offset %llu len %zu",
		     !!direct, (unsigned long long)file_offset,
		     (unsigned long long)buf_offset, len);
	close(out);
}

static void test_edges(void)
{
	size_t size = mixed_len() / page * page, i, j;
	int buf = buf_alloc(size), fd = file_make("data", size + 4 * page, 5);
	uint8_t *map = buf_map(buf, size);
	/* Around the borders between allocations of different order. */
	const size_t at[] = { 0, 1, page, MIB - page, MIB, 2 * MIB - page,
			      2 * MIB, 2 * MIB + 65536, size - 4 * page };
	const size_t lens[] = { 1, 511, page - 1, page, page + 1, 2 * page,
				MIB + page, size };

	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		for (j = 0; j < sizeof(lens) / sizeof(*lens); j++) {
			size_t len = lens[j];

			if (len > size - at[i])
				len = size - at[i];
			check_range(buf, map, size, fd, 0, at[i] / 2, at[i], len);
			len = len / page * page;
			if (len)
				check_range(buf, map, size, fd, DIRECT,
					    at[i] / 2 / page * page,
					    at[i] / page * page, len);
		}
	}
	munmap(map, size);
	close(buf);
	close(fd);
	file_remove("out");
}

static void test_random(void)
{
	const size_t size = mixed_len() / page * page;
	int buf = buf_alloc(size), fd = file_make("data", 2 * size, 5), i;
	uint8_t *map = buf_map(buf, size);

	srand48(20250516);
	for (i = 0; i < 60; i++) {
		__u32 direct = lrand48() & 1 ? DIRECT : 0;
		uint64_t off = lrand48() % size, pos = lrand48() % size;
		size_t len = 1 + lrand48() % (size - off);

		if (direct) {
			off = off / page * page;
			pos = pos / page * page;
			len = (len + page - 1) / page * page;
		}
		check_range(buf, map, size, fd, direct, pos, off, len);
	}
	munmap(map, size);
	close(buf);
	close(fd);
	file_remove("out");
	file_remove("data");
}

/* Longer than one chunk, with starts and ends around the chunk border. */
static void test_chunks(void)
{
	const size_t size = CHUNK + 4 * page;
	int buf = buf_alloc(size), fd = file_make("big", size, 5);
	uint8_t *map = buf_map(buf, size);

	check_range(buf, map, size, fd, DIRECT, 0, 0, size);
	check_range(buf, map, size, fd, DIRECT, page, 2 * page, CHUNK + page);
	check_range(buf, map, size, fd, DIRECT, 0, page, CHUNK - page);
	check_range(buf, map, size, fd, DIRECT, page, page, CHUNK);
	check_range(buf, map, size, fd, 0, 1, 3, CHUNK + page + 1);
	check_range(buf, map, size, fd, 0, 7, 0, CHUNK);
	munmap(map, size);
	close(buf);
	close(fd);
	file_remove("out");
	file_remove("big");
}

static void test_end_of_file(void)
{
	const size_t size = 16 * page, tails[] = { 0, 1, 511, 512, 4095 };
	const size_t starts[] = { 0, 3, 1, 4 };
	int buf = buf_alloc(size);
	uint8_t *map = buf_map(buf, size);
	size_t i, j, pages;
	__u32 direct;

	for (i = 0; i < sizeof(tails) / sizeof(*tails); i++)
	for (pages = 0; pages <= 3; pages += 3)
	for (j = 0; j < sizeof(starts) / sizeof(*starts); j++)
	for (direct = 0; ; direct = DIRECT) {
		size_t eof = pages * page + tails[i];
		size_t pos = starts[j] * page, got, touched;
		int fd = file_make("eof", eof, 6);

		got = eof > pos ? eof - pos : 0;
		touched = direct ? (got + page - 1) / page * page : got;
		buf_fill(buf, map, size, GUARD);
		EXPECT(rw(buf, READ | direct, fd, pos, page, 12 * page), 0);
		if (!has_pattern(map + page, got, pos, 6) ||
		    !all_bytes(map, page, GUARD) ||
		    !all_bytes(map + page + touched, size - page - touched,
			       GUARD))
			FAIL("size %zu offset %zu direct %d", eof, pos,
			     !!direct);
		close(fd);
		if (direct)
			break;
	}

	/* A file that ends far before the range starts. */
	for (direct = 0; ; direct = DIRECT) {
		int fd = file_make("eof", 100, 6);

		buf_fill(buf, map, size, GUARD);
		EXPECT(rw(buf, READ | direct, fd, 1ULL << 40, 0, size), 0);
		CHECK(all_bytes(map, size, GUARD));
		close(fd);
		if (direct)
			break;
	}
	munmap(map, size);
	close(buf);
	file_remove("eof");
}

/* More than a file system may be asked for at once, most of it past the end. */
static void test_huge_past_end(void)
{
	const uint64_t size = 2048 * MIB + 64 * MIB;
	struct sysinfo info;
	int buf, fd;

	sysinfo(&info);
	errno = ENOMEM;
	REQUIRE(sizeof(size_t) == 8 &&
		(uint64_t)info.freeram * info.mem_unit > size + 256 * MIB);
	buf = buf_alloc_flags(size, O_RDWR);
	REQUIRE(buf >= 0);
	fd = file_make("huge", 5 * page + 1, 7);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, size), 0);
	EXPECT(rw(buf, READ | DIRECT, fd, 16 * page, 0, size), 0);
	EXPECT(rw(buf, READ, fd, 0, 0, size), 0);
	close(fd);
	close(buf);
	file_remove("huge");
}

static void test_hole(void)
{
	const size_t size = 8 * page;
	int buf = buf_alloc(size), fd = file_make("hole", 0, 8);
	uint8_t *map = buf_map(buf, size);
	uint8_t block[512];
	__u32 direct;

	pattern(block, sizeof(block), 6 * page, 8);
	if (pwrite(fd, block, sizeof(block), 6 * page) != sizeof(block) ||
	    ftruncate(fd, 8 * page) || fsync(fd))
		die("making a hole");
	for (direct = 0; ; direct = DIRECT) {
		buf_fill(buf, map, size, GUARD);
		EXPECT(rw(buf, READ | direct, fd, 0, 0, size), 0);
		CHECK(all_bytes(map, 6 * page, 0));
		CHECK(has_pattern(map + 6 * page, sizeof(block), 6 * page, 8));
		CHECK(all_bytes(map + 6 * page + sizeof(block),
				2 * page - sizeof(block), 0));
		if (direct)
			break;
	}
	munmap(map, size);
	close(fd);
	close(buf);
	file_remove("hole");
}

static void test_coherence(void)
{
	const size_t size = 64 * page;
	int buf = buf_alloc(size), fd = file_make("cache", size, 9);
	uint8_t *map = buf_map(buf, size), *block = malloc(size), *view;

	/* Dirty pages are seen by a direct read. */
	pattern(block, size, 0, 10);
	if (pwrite(fd, block, size, 0) != (ssize_t)size)
		die("pwrite");
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, size), 0);
	CHECK(has_pattern(map, size, 0, 10));

	/* A direct write is seen by cached readers. */
	view = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(has_pattern(view, size, 0, 10));
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	pattern(map, size, 0, 11);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
	EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), 0);
	CHECK(file_has_pattern(fd, 0, size, 0, 11));
	CHECK(has_pattern(view, size, 0, 11));
	munmap(view, size);
	munmap(map, size);
	free(block);
	close(fd);
	close(buf);
	file_remove("cache");
}

static size_t cached_pages(int fd, size_t len)
{
	unsigned char *vec = calloc(len / page, 1);
	void *view = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	size_t i, n = 0;

	if (view == MAP_FAILED || mincore(view, len, vec))
		die("mincore");
	for (i = 0; i < len / page; i++)
		n += vec[i] & 1;
	munmap(view, len);
	free(vec);
	return n;
}

/* That it went direct shows in the page cache only. */
static void test_cache_untouched(void)
{
	const size_t size = 256 * page;
	int buf = buf_alloc(size), fd = file_make("direct", size, 28);
	struct statx stx;

	errno = EOPNOTSUPP;
	REQUIRE(!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
		stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_offset_align);
	EXPECT(cached_pages(fd, size), 0);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, size), 0);
	EXPECT(cached_pages(fd, size), 0);
	EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), 0);
	EXPECT(cached_pages(fd, size), 0);
	EXPECT(rw(buf, READ, fd, 0, 0, size), 0);
	EXPECT(cached_pages(fd, size), 256);
	close(fd);
	close(buf);
	file_remove("direct");
}

/* Files that are never read directly: asking for it must not make them fail. */
static void test_verity(void)
{
	const size_t size = 64 * page, eof = 37 * page + 100;
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = 4096,
	};
	int buf = buf_alloc(size), fd = file_make("verity", eof, 29), ret;
	uint8_t *map = buf_map(buf, size);

	close(fd);
	fd = file_open("verity", O_RDONLY);
	ret = ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
	if (ret)
		file_remove("verity");
	REQUIRE(!ret);
	buf_fill(buf, map, size, GUARD);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, size), 0);
	CHECK(has_pattern(map, eof, 0, 29));
	CHECK(all_bytes(map + 38 * page, size - 38 * page, GUARD));
	EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), -EBADF);
	close(fd);
	munmap(map, size);
	close(buf);
	file_remove("verity");
}

static void test_compressed(void)
{
	const size_t size = 64 * page;
	int buf = buf_alloc(size), fd = file_make("compressed", 0, 30), ret;
	uint8_t *map = buf_map(buf, size);
	int flags = 0;

	ret = ioctl(fd, FS_IOC_GETFLAGS, &flags);
	flags |= FS_COMPR_FL;
	if (!ret)
		ret = ioctl(fd, FS_IOC_SETFLAGS, &flags);
	if (ret)
		file_remove("compressed");
	REQUIRE(!ret);
	buf_fill(buf, map, size, 0x11);
	EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), 0);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	buf_fill(buf, map, size, GUARD);
	EXPECT(rw(buf, READ | DIRECT, fd, page, page, 60 * page), 0);
	CHECK(all_bytes(map, page, GUARD));
	CHECK(all_bytes(map + page, 60 * page, 0x11));
	CHECK(all_bytes(map + 61 * page, 3 * page, GUARD));
	close(fd);
	munmap(map, size);
	close(buf);
	file_remove("compressed");
}

/* A file opened with O_DIRECT is read as read() would read it. */
static void test_o_direct_file(void)
{
	const size_t size = 4 * page;
	int buf = buf_alloc(size), fd = file_make("odirect", size, 12);
	uint8_t *map = buf_map(buf, size);
	void *block;
	int want;

	close(fd);
	fd = file_open("odirect", O_RDONLY | O_DIRECT);
	EXPECT(rw(buf, READ, fd, 0, 0, size), 0);
	CHECK(has_pattern(map, size, 0, 12));

	if (posix_memalign(&block, page, size))
		die("posix_memalign");
	want = pread(fd, block, page, 1) < 0 ? -errno : 0;
	EXPECT(rw(buf, READ, fd, 1, 0, page), want);
	free(block);
	munmap(map, size);
	close(fd);
	close(buf);
	file_remove("odirect");
}

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

static void test_file_size_limit(void)
{
	const struct sigaction act = { .sa_handler = count_signal };
	int buf = buf_alloc(16 * page), fd = file_make("limit", 0, 13);
	struct rlimit old, limit;
	struct stat st;
	__u32 direct;

	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit) { .rlim_cur = 4 * page, .rlim_max = old.rlim_max };
	sigaction(SIGXFSZ, &act, NULL);
	for (direct = 0; ; direct = DIRECT) {
		signals = 0;
		if (ftruncate(fd, 0))
			die("ftruncate");
		setrlimit(RLIMIT_FSIZE, &limit);
		EXPECT(rw(buf, WRITE | direct, fd, 0, 0, 16 * page), -EFBIG);
		EXPECT(signals, 1);
		EXPECT(rw(buf, WRITE | direct, fd, 8 * page, 0, page), -EFBIG);
		EXPECT(signals, 2);
		EXPECT(rw(buf, WRITE | direct, fd, 0, 0, 4 * page), 0);
		setrlimit(RLIMIT_FSIZE, &old);
		CHECK(!fstat(fd, &st) && st.st_size == (off_t)(4 * page));
		if (direct)
			break;
	}
	signal(SIGXFSZ, SIG_DFL);
	close(fd);
	close(buf);
	file_remove("limit");
}

static void test_no_space(void)
{
	const size_t size = 2 * MIB;
	int buf = buf_alloc(size), fd;
	char name[4096];

	file_name(name, sizeof(name), "small");
	mkdir(name, 0700);
	if (mount("tmpfs", name, "tmpfs", 0, "size=1m")) {
		snprintf(skip_reason, sizeof(skip_reason), "mount: %s",
			 strerror(errno));
	} else {
		strcat(name, "/f");
		fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		EXPECT(rw(buf, WRITE, fd, 0, 0, size), -ENOSPC);
		EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), -ENOSPC);
		close(fd);
		name[strlen(name) - 2] = 0;
		umount2(name, MNT_DETACH);
	}
	rmdir(name);
	close(buf);
}

static void test_block_device(void)
{
	const size_t size = 4 * MIB;
	int buf = buf_alloc(size), file = file_make("loop", size, 14);
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), nr, dev;
	uint8_t *map = buf_map(buf, size);
	char name[64];
	__u32 direct;

	REQUIRE(ctl >= 0);
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	REQUIRE(nr >= 0);
	snprintf(name, sizeof(name), "/dev/loop%d", nr);
	dev = open(name, O_RDWR | O_CLOEXEC);
	REQUIRE(dev >= 0);
	REQUIRE(!ioctl(dev, LOOP_SET_FD, file));

	for (direct = 0; ; direct = DIRECT) {
		buf_fill(buf, map, size, GUARD);
		EXPECT(rw(buf, READ | direct, dev, 0, 0, size), 0);
		CHECK(has_pattern(map, size, 0, 14));
		buf_fill(buf, map, size, GUARD);
		EXPECT(rw(buf, READ | direct, dev, size - 2 * page, 0, size), 0);
		CHECK(has_pattern(map, 2 * page, size - 2 * page, 14));
		CHECK(all_bytes(map + 2 * page, size - 2 * page, GUARD));
		EXPECT(rw(buf, READ | direct, dev, size, 0, size), 0);
		EXPECT(rw(buf, READ | direct, dev, 0, 0, size), 0);
		EXPECT(rw(buf, WRITE | direct, dev, 0, 0, size), 0);
		EXPECT(rw(buf, WRITE | direct, dev, size - 2 * page,
			  size - 2 * page, 2 * page), 0);
		EXPECT(rw(buf, WRITE | direct, dev, size, 0, page), -ENOSPC);
		if (direct)
			break;
	}
	fsync(dev);
	CHECK(file_has_pattern(file, 0, size, 0, 14));
	ioctl(dev, LOOP_CLR_FD);
	close(dev);
	close(ctl);
	close(file);
	munmap(map, size);
	close(buf);
	file_remove("loop");
}

static bool write_text(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

#define SCSI_DEBUG "/sys/bus/pseudo/drivers/scsi_debug/"

/* The node of the disk that scsi_debug made, which may take a moment. */
static int scsi_debug_open(int ms)
{
	char name[512], model[64];
	int i, fd;

	for (; ms > 0; ms -= 100) {
		for (i = 0; i < 26; i++) {
			FILE *f;
			bool ours;

			snprintf(name, sizeof(name),
				 "/sys/block/sd%c/device/model", 'a' + i);
			f = fopen(name, "r");
			if (!f)
				continue;
			ours = fgets(model, sizeof(model), f) &&
			       !strncmp(model, "scsi_debug", 10);
			fclose(f);
			snprintf(name, sizeof(name), "/dev/sd%c", 'a' + i);
			fd = ours ? open(name, O_RDWR | O_CLOEXEC) : -1;
			if (fd >= 0)
				return fd;
		}
		usleep(100000);
	}
	return -1;
}

/* The medium fails in the middle: the error arrives, the count does not. */
static void test_medium_error(void)
{
	const size_t size = 4 * MIB, bad = 0x1234 * 512 / MIB * MIB;
	int buf = buf_alloc(size), dev, want;
	void *block;

	REQUIRE(write_text(SCSI_DEBUG "add_host", "1"));
	dev = scsi_debug_open(SOON);
	if (dev < 0) {
		write_text(SCSI_DEBUG "add_host", "-1");
		REQUIRE(dev >= 0);
	}
	if (posix_memalign(&block, page, MIB))
		die("posix_memalign");
	write_text(SCSI_DEBUG "opts", "2");
	fcntl(dev, F_SETFL, O_DIRECT);
	want = pread(dev, block, MIB, bad) < 0 ? -errno : 0;
	fcntl(dev, F_SETFL, 0);
	CHECK(want < 0);
	EXPECT(rw(buf, READ | DIRECT, dev, bad, 0, MIB), want);
	EXPECT(rw(buf, READ | DIRECT, dev, 0, 0, size), want);
	EXPECT(rw(buf, READ, dev, 0, 0, size), -EIO);
	EXPECT(rw(buf, READ | DIRECT, dev, 0, 0, bad), 0);
	write_text(SCSI_DEBUG "opts", "0");
	EXPECT(rw(buf, READ | DIRECT, dev, 0, 0, size), 0);
	close(dev);
	write_text(SCSI_DEBUG "add_host", "-1");
	free(block);
	close(buf);
}

static bool read_io(unsigned long long *rchar, unsigned long long *syscr,
		    unsigned long long *wchar, unsigned long long *syscw,
		    size_t *n)
{
	char text[512] = "";
	int fd = open("/proc/thread-self/io", O_RDONLY | O_CLOEXEC);
	ssize_t ret;

	if (fd < 0)
		return false;
	ret = read(fd, text, sizeof(text) - 1);
	close(fd);
	*n = ret;
	return sscanf(text, "rchar: %llu wchar: %llu syscr: %llu syscw: %llu",
		      rchar, wchar, syscr, syscw) == 4;
}

static void test_accounting(void)
{
	const size_t size = 16 * page, eof = 5 * page + 1;
	int buf = buf_alloc(size), fd = file_make("acct", eof, 15);
	unsigned long long r0, r1, cr0, cr1, w0, w1, cw0, cw1;
	size_t n0, n1;

	REQUIRE(read_io(&r0, &cr0, &w0, &cw0, &n0));
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, size), 0);
	EXPECT(rw(buf, READ, fd, 0, 0, 2 * page), 0);
	EXPECT(rw(buf, WRITE | DIRECT, fd, 0, 0, size), 0);
	REQUIRE(read_io(&r1, &cr1, &w1, &cw1, &n1));
	/* Reading the counters counts as well. */
	EXPECT(r1 - r0 - n0, eof + 2 * page);
	EXPECT(cr1 - cr0, 3);
	EXPECT(w1 - w0, size);
	EXPECT(cw1 - cw0, 1);
	close(fd);
	close(buf);
	file_remove("acct");
}

#define TRACING "/sys/kernel/tracing/"

static void test_trace(void)
{
	const size_t size = 16 * page, eof = 5 * page + 1;
	int buf = buf_alloc(size), fd = file_make("trace", eof, 16);
	char want[256], line[1024];
	bool enter = false, exit = false;
	struct stat st;
	FILE *trace;

	mount_if_missing("tracefs", "/sys/kernel/tracing", TRACING "events");
	REQUIRE(write_text(TRACING "trace", ""));
	REQUIRE(write_text(TRACING "events/dma_buf/enable", "1"));
	EXPECT(rw(buf, READ | DIRECT, fd, 0, page, 8 * page), 0);
	write_text(TRACING "events/dma_buf/enable", "0");
	fstat(fd, &st);
	snprintf(want, sizeof(want),
		 "ino=%lu flags=READ|DIRECT file_offset=0 buf_offset=%zu len=%zu done=%zu ret=0",
		 (unsigned long)st.st_ino, page, 8 * page, eof);
	trace = fopen(TRACING "trace", "r");
	REQUIRE(trace);
	while (fgets(line, sizeof(line), trace)) {
		if (strstr(line, "dma_buf_rw_file_enter") &&
		    strstr(line, "done=0 "))
			enter = true;
		if (strstr(line, "dma_buf_rw_file_exit") && strstr(line, want))
			exit = true;
	}
	fclose(trace);
	CHECK(enter);
	CHECK(exit);
	write_text(TRACING "trace", "");
	close(fd);
	close(buf);
	file_remove("trace");
}

/* ---- what it waits for, and what does not wait for it ---- */

static int test_device(void)
{
	return open(TEST_DEVICE, O_RDWR | O_CLOEXEC);
}

static int dev_call(int dev, unsigned long cmd, int buf)
{
	__s32 fd = buf;

	return ioctl(dev, cmd, &fd) ? -errno : 0;
}

static void expect_busy(int line, int buf, int fd, int proc)
{
	int w, r = rw(buf, READ, fd, 0, 0, page);

	w = rw(buf, WRITE | DIRECT, fd, 0, 0, page);
	if (r != -EBUSY || w != -EBUSY)
		FAIL("called at line %d: READ is %d, WRITE is %d, want %d", line,
		     r, w, -EBUSY);
	/* Arguments are still checked first, support for direct I/O is not. */
	EXPECT(rw(buf, READ, -1, 0, 0, page), -EBADF);
	EXPECT(rw(buf, READ | DIRECT, -1, 0, 0, page), -EBADF);
	EXPECT(rw(buf, READ, fd, 0, 0, 0), -EINVAL);
	EXPECT(rw(buf, READ, buf, 0, 0, page), -EINVAL);
	EXPECT(rw(buf, WRITE, proc, 0, 0, page), -EBADF);
	EXPECT(rw(buf, READ | DIRECT, proc, 0, 0, page), -EBUSY);
}

static void test_busy(void)
{
	int buf = buf_alloc(page), fd = file_make("busy", page, 17);
	int dev = test_device(), second = test_device();
	int proc = open("/proc/version", O_RDONLY | O_CLOEXEC);

	REQUIRE(dev >= 0 && second >= 0 && proc >= 0);
	EXPECT(rw(buf, READ, fd, 0, 0, page), 0);
	EXPECT(dev_call(dev, TEST_ATTACH, buf), 0);
	expect_busy(__LINE__, buf, fd, proc);
	EXPECT(dev_call(second, TEST_ATTACH, buf), 0);
	EXPECT(dev_call(dev, TEST_DETACH, 0), 0);
	expect_busy(__LINE__, buf, fd, proc);
	EXPECT(dev_call(second, TEST_DETACH, 0), 0);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, page), 0);

	EXPECT(dev_call(dev, TEST_VMAP, buf), 0);
	expect_busy(__LINE__, buf, fd, proc);
	EXPECT(dev_call(dev, TEST_VUNMAP, 0), 0);
	EXPECT(rw(buf, WRITE, fd, 0, 0, page), 0);

	/* A user mapping does not count. */
	munmap(buf_map(buf, page), page);
	EXPECT(rw(buf, READ | DIRECT, proc, 0, 0, page), -EINVAL);
	close(dev);
	close(second);
	close(proc);
	close(fd);
	close(buf);
	file_remove("busy");
}

static int fence_create(int timeline, __u32 value)
{
	struct sw_sync_create_fence_data data = { .value = value };

	return ioctl(timeline, SW_SYNC_CREATE, &data) ? -1 : data.fence;
}

static int fence_import(int buf, int fence, __u32 flags)
{
	struct dma_buf_import_sync_file arg = { .flags = flags, .fd = fence };

	return ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &arg) ? -errno : 0;
}

static int timeline_open(void)
{
	mount_if_missing("debugfs", "/sys/kernel/debug", SW_SYNC_DEVICE);
	return open(SW_SYNC_DEVICE, O_RDWR | O_CLOEXEC);
}

static void test_fence(void)
{
	int timeline = timeline_open(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);
	struct job job = { .buf = buf, .fd = fd, .len = page };
	__u32 one = 1;

	REQUIRE(timeline >= 0);

	/* Somebody reads from the buffer: it may be saved, not filled. */
	fence = fence_create(timeline, 1);
	EXPECT(fence_import(buf, fence, DMA_BUF_SYNC_READ), 0);
	close(fence);
	EXPECT(rw(buf, WRITE, fd, 0, 0, page), 0);
	job.flags = READ;
	job_start(&job);
	CHECK(!job_done_within(&job, A_WHILE));
	ioctl(timeline, SW_SYNC_INC, &one);
	CHECK(job_done_within(&job, SOON));
	EXPECT(job_result(&job), 0);

	/* Somebody writes to the buffer: neither. */
	fence = fence_create(timeline, 2);
	EXPECT(fence_import(buf, fence, DMA_BUF_SYNC_WRITE), 0);
	close(fence);
	job.flags = WRITE | DIRECT;
	job_start(&job);
	CHECK(!job_done_within(&job, A_WHILE));
	ioctl(timeline, SW_SYNC_INC, &one);
	CHECK(job_done_within(&job, SOON));
	EXPECT(job_result(&job), 0);

	close(timeline);
	close(fd);
	close(buf);
	file_remove("fence");
}

static void test_fence_interrupted(void)
{
	const struct sigaction act = { .sa_handler = count_signal };
	int timeline = timeline_open(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);

	REQUIRE(timeline >= 0);
	fence = fence_create(timeline, 1);
	EXPECT(fence_import(buf, fence, DMA_BUF_SYNC_WRITE), 0);
	sigaction(SIGALRM, &act, NULL);
	signals = 0;
	ualarm(A_WHILE * 1000, 0);
	EXPECT(rw(buf, READ, fd, 0, 0, page), -EINTR);
	EXPECT(signals, 1);
	signal(SIGALRM, SIG_DFL);
	/* Nothing is left behind. Closing the timeline signals the fence. */
	close(timeline);
	EXPECT(rw(buf, READ, fd, 0, 0, page), 0);
	close(fence);
	close(fd);
	close(buf);
	file_remove("fence");
}

/* Importers wait for file I/O, not for what file I/O waits for. */
static void test_attach_while_fence_pending(void)
{
	int timeline = timeline_open(), dev = test_device(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);
	struct job job = { .buf = buf, .fd = fd, .len = page, .flags = READ };
	struct job attach = { .buf = buf, .dev = dev, .cmd = TEST_ATTACH };
	__u32 one = 1;

	REQUIRE(timeline >= 0 && dev >= 0);
	fence = fence_create(timeline, 1);
	EXPECT(fence_import(buf, fence, DMA_BUF_SYNC_READ), 0);
	job_start(&job);
	CHECK(!job_done_within(&job, A_WHILE));
	job_start(&attach);
	CHECK(job_done_within(&attach, SOON));
	ioctl(timeline, SW_SYNC_INC, &one);
	CHECK(job_done_within(&job, SOON));
	EXPECT(job_result(&attach), 0);
	EXPECT(job_result(&job), -EBUSY);
	close(dev);
	close(fence);
	close(timeline);
	close(fd);
	close(buf);
	file_remove("fence");
}

/*
 * A permission listener holds up the first access to a file for as long as it
 * likes, the way a FUSE daemon or a dead device would.
 */
struct gate {
	int fan;
	int event_fd;
};

/* Opens the file again: only files opened with a listener present ask it. */
static bool gate_open(struct gate *gate, const char *tag, int *fd)
{
	char name[4096];

	gate->event_fd = -1;
	gate->fan = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK,
				  O_RDONLY | O_CLOEXEC);
	if (gate->fan < 0)
		return false;
	file_name(name, sizeof(name), tag);
	if (fanotify_mark(gate->fan, FAN_MARK_ADD, FAN_ACCESS_PERM, AT_FDCWD,
			  name))
		return false;
	close(*fd);
	*fd = file_open(tag, O_RDWR);
	return true;
}

/* True once an access is waiting. */
static bool gate_wait(struct gate *gate, int ms)
{
	struct pollfd pfd = { .fd = gate->fan, .events = POLLIN };
	struct fanotify_event_metadata event;

	if (poll(&pfd, 1, ms) != 1 ||
	    read(gate->fan, &event, sizeof(event)) != sizeof(event))
		return false;
	gate->event_fd = event.fd;
	return true;
}

static void gate_pass(struct gate *gate)
{
	struct fanotify_response resp = {
		.fd = gate->event_fd,
		.response = FAN_ALLOW,
	};

	if (gate->event_fd < 0)
		return;
	if (write(gate->fan, &resp, sizeof(resp)) < 0 && errno != ENOENT)
		die("fanotify response");
	close(gate->event_fd);
	gate->event_fd = -1;
}

static void gate_close(struct gate *gate)
{
	close(gate->fan);
	if (gate->event_fd >= 0)
		close(gate->event_fd);
}

static void test_not_held_up(void)
{
	const size_t size = 8 * page;
	int buf = buf_alloc(size), dev = test_device();
	int fd = file_make("slow", size, 19), quick = file_make("quick", size, 20);
	uint8_t *map = buf_map(buf, size);
	struct job job = { .buf = buf, .len = page, .flags = READ | DIRECT };
	struct job vmap = { .buf = buf, .dev = dev, .cmd = TEST_VMAP };
	struct gate gate;

	REQUIRE(gate_open(&gate, "slow", &fd));
	job.fd = fd;
	job_start(&job);
	CHECK(gate_wait(&gate, SOON));

	/* Each would hang, and the watchdog ends the test, if it had to wait. */
	alarm(60);
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	munmap(buf_map(buf, size), size);
	EXPECT(rw(buf, READ | DIRECT, quick, 0, 4 * page, 4 * page), 0);
	CHECK(has_pattern(map + 4 * page, 4 * page, 0, 20));
	EXPECT(rw(buf, WRITE, quick, 0, 4 * page, page), 0);
	if (dev >= 0) {
		job_start(&vmap);
		CHECK(job_done_within(&vmap, SOON));
		EXPECT(job_result(&vmap), 0);
		/* It counts for whoever starts now. */
		EXPECT(rw(buf, READ, quick, 0, 0, page), -EBUSY);
		EXPECT(dev_call(dev, TEST_VUNMAP, 0), 0);
	}
	CHECK(!job_done_within(&job, A_WHILE));
	alarm(0);

	gate_pass(&gate);
	CHECK(job_done_within(&job, SOON));
	EXPECT(job_result(&job), 0);
	CHECK(has_pattern(map, page, 0, 19));
	gate_close(&gate);
	close(dev);
	close(fd);
	close(quick);
	munmap(map, size);
	close(buf);
	file_remove("slow");
	file_remove("quick");
}

static void test_attach_waits(void)
{
	int buf = buf_alloc(page), fd = file_make("slow", page, 21);
	int dev = test_device(), other = file_make("quick", page, 22);
	struct job job = { .buf = buf, .len = page, .flags = READ };
	struct job attach = { .buf = buf, .dev = dev, .cmd = TEST_ATTACH };
	struct gate gate;
	int i;

	REQUIRE(dev >= 0);
	REQUIRE(gate_open(&gate, "slow", &fd));
	job.fd = fd;
	job_start(&job);
	CHECK(gate_wait(&gate, SOON));
	job_start(&attach);
	CHECK(!job_done_within(&attach, A_WHILE));

	/* Newcomers cannot push in before it. */
	EXPECT(rw(buf, READ, other, 0, 0, page), -EBUSY);
	EXPECT(rw(buf, READ, -1, 0, 0, page), -EBADF);
	alarm(60);
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	alarm(0);

	gate_pass(&gate);
	CHECK(job_done_within(&job, SOON));
	CHECK(job_done_within(&attach, SOON));
	EXPECT(job_result(&job), 0);
	EXPECT(job_result(&attach), 0);
	EXPECT(rw(buf, READ, other, 0, 0, page), -EBUSY);
	EXPECT(dev_call(dev, TEST_DETACH, 0), 0);

	/* An importer that gives up leaves the buffer usable. */
	job_start(&job);
	CHECK(gate_wait(&gate, SOON));
	i = fork();
	if (!i) {
		dev_call(test_device(), TEST_ATTACH, buf);
		_exit(0);
	}
	sleep_ms(A_WHILE);
	EXPECT(rw(buf, READ, other, 0, 0, page), -EBUSY);
	kill(i, SIGKILL);
	i = wait_child(i, SOON);
	CHECK(i >= 0 && WIFSIGNALED(i));
	EXPECT(rw(buf, READ, other, 0, 0, page), 0);
	gate_pass(&gate);
	EXPECT(job_result(&job), 0);

	gate_close(&gate);
	close(dev);
	close(fd);
	close(other);
	close(buf);
	file_remove("slow");
	file_remove("quick");
}

/*
 * A listener is asked once per call into the file system, which shows that the
 * transfer goes in chunks and stops between them when killed.
 */
static void test_killed(void)
{
	const size_t size = 2 * CHUNK + page;
	int buf = buf_alloc(size), fd = file_make("slow", 0, 23);
	struct job job = { .buf = buf, .len = size, .flags = READ | DIRECT };
	struct gate gate;
	int calls, pid, status;

	if (ftruncate(fd, size))
		die("ftruncate");
	REQUIRE(gate_open(&gate, "slow", &fd));
	job.fd = fd;
	job_start(&job);
	for (calls = 0; gate_wait(&gate, calls < 3 ? SOON : A_WHILE); calls++)
		gate_pass(&gate);
	EXPECT(job_result(&job), 0);
	EXPECT(calls, 3);

	fflush(stdout);
	pid = fork();
	if (!pid) {
		rw(buf, READ | DIRECT, fd, 0, 0, size);
		_exit(0);
	}
	CHECK(gate_wait(&gate, SOON));
	gate_pass(&gate);
	CHECK(gate_wait(&gate, SOON));
	kill(pid, SIGKILL);
	status = wait_child(pid, SOON);
	CHECK(status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	gate_close(&gate);

	/* Nothing is left behind. */
	close(fd);
	fd = file_make("slow", page, 24);
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, page), 0);
	close(fd);
	close(buf);
	file_remove("slow");
}

static void test_frozen(void)
{
	int buf = buf_alloc(page), fd = file_make("frozen", page, 25);
	int at = open(dir, O_RDONLY | O_CLOEXEC);
	struct job job = { .buf = buf, .fd = fd, .len = page,
			   .flags = WRITE | DIRECT };
	struct stat here, root, out;

	/* Freezing what the test itself runs from would hang it. */
	stat(dir, &here);
	stat("/", &root);
	fstat(1, &out);
	errno = EXDEV;
	REQUIRE(here.st_dev != root.st_dev && here.st_dev != out.st_dev);
	/* Reading updates the access time at most once, before the freeze. */
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, page), 0);
	REQUIRE(!ioctl(at, FIFREEZE, 0));
	job_start(&job);
	CHECK(!job_done_within(&job, A_WHILE));
	EXPECT(rw(buf, READ | DIRECT, fd, 0, 0, page), 0);
	ioctl(at, FITHAW, 0);
	CHECK(job_done_within(&job, SOON));
	EXPECT(job_result(&job), 0);
	close(at);
	close(fd);
	close(buf);
	file_remove("frozen");
}

struct worker {
	pthread_t thread;
	int buf, fd, nr;
	uint8_t *map;
	bool ok;
};

#define WORKERS		4
#define PART		(512 * 1024)

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t at = (uint64_t)w->nr * PART;
	int i;

	w->ok = true;
	for (i = 0; i < 8 && w->ok; i++) {
		__u32 direct = (i + w->nr) & 1 ? DIRECT : 0;
		uint64_t seed = 100 + w->nr * 1000 + i;

		pattern(w->map + at, PART, at, seed);
		if (rw(w->buf, WRITE | direct, w->fd, at, at, PART))
			w->ok = false;
		memset(w->map + at, GUARD, PART);
		if (rw(w->buf, READ | (direct ^ DIRECT), w->fd, at, at, PART))
			w->ok = false;
		if (!has_pattern(w->map + at, PART, at, seed))
			w->ok = false;
	}
	return NULL;
}

static void test_threads(void)
{
	int buf = buf_alloc(WORKERS * PART), i;
	int fd = file_make("threads", WORKERS * PART, 26);
	uint8_t *map = buf_map(buf, WORKERS * PART);
	struct worker w[WORKERS];

	for (i = 0; i < WORKERS; i++) {
		w[i] = (struct worker) { .buf = buf, .fd = fd, .nr = i,
					 .map = map };
		pthread_create(&w[i].thread, NULL, worker_main, &w[i]);
	}
	for (i = 0; i < WORKERS; i++) {
		pthread_join(w[i].thread, NULL);
		CHECK(w[i].ok);
	}
	munmap(map, WORKERS * PART);
	close(fd);
	close(buf);
	file_remove("threads");
}

static atomic_int churning;

/* Importers come and go while others transfer: EBUSY or success, no hang. */
static void *churn_main(void *arg)
{
	struct worker *w = arg;
	int dev = test_device(), i;

	w->ok = true;
	for (i = 0; i < 100; i++) {
		int ret = dev_call(dev, i & 1 ? TEST_VMAP : TEST_ATTACH, w->buf);

		if (ret)
			w->ok = false;
		dev_call(dev, i & 1 ? TEST_VUNMAP : TEST_DETACH, 0);
		buf_sync(w->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		buf_sync(w->buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		sleep_ms(2 + w->nr);
	}
	atomic_fetch_sub(&churning, 1);
	close(dev);
	return NULL;
}

static void test_importer_churn(void)
{
	int buf = buf_alloc(MIB), fd = file_make("churn", MIB, 27), i;
	int dev = test_device(), busy = 0, done = 0;
	struct worker w[2];

	REQUIRE(dev >= 0);
	atomic_store(&churning, 2);
	for (i = 0; i < 2; i++) {
		w[i] = (struct worker) { .buf = buf, .nr = i };
		pthread_create(&w[i].thread, NULL, churn_main, &w[i]);
	}
	for (i = 0; atomic_load(&churning); i++) {
		int ret = rw(buf, READ | (i & 1 ? DIRECT : 0), fd, 0, 0, MIB);

		if (ret == -EBUSY)
			busy++;
		else if (!ret)
			done++;
		else
			FAIL("READ is %d", ret);
	}
	for (i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		CHECK(w[i].ok);
	}
	diag("%d transfers, %d refused", done, busy);
	EXPECT(rw(buf, READ, fd, 0, 0, MIB), 0);
	close(dev);
	close(fd);
	close(buf);
	file_remove("churn");
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "abi", test_abi },
	{ "probe", test_probe },
	{ "exporter_without_rw_file_einval", test_other_exporter },
	{ "bad_pointer_efault", test_fault },
	{ "unknown_flags_einval", test_flags },
	{ "unaligned_direct_einval", test_alignment },
	{ "range_outside_buffer_einval", test_range },
	{ "file_offset_overflow_einval", test_file_offset },
	{ "dma_buf_access_mode_eacces", test_access_mode },
	{ "file_kinds", test_file_kinds },
	{ "append_ebadf", test_append },
	{ "file_without_direct_einval", test_no_direct },
	{ "swapfile_etxtbsy", test_swapfile },
	{ "ranges_across_allocations", test_edges },
	{ "random_ranges", test_random },
	{ "ranges_across_chunks", test_chunks },
	{ "end_of_file", test_end_of_file },
	{ "huge_range_past_end_no_warning", test_huge_past_end },
	{ "hole_reads_zero", test_hole },
	{ "page_cache_coherence", test_coherence },
	{ "direct_leaves_page_cache_alone", test_cache_untouched },
	{ "verity_file_reads", test_verity },
	{ "compressed_file_reads_and_writes", test_compressed },
	{ "o_direct_file_as_read", test_o_direct_file },
	{ "file_size_limit_efbig", test_file_size_limit },
	{ "no_space_enospc", test_no_space },
	{ "block_device", test_block_device },
	{ "medium_error_reported", test_medium_error },
	{ "accounting", test_accounting },
	{ "trace_events", test_trace },
	{ "attached_or_vmapped_ebusy", test_busy },
	{ "waits_for_fences", test_fence },
	{ "fence_wait_interrupted_eintr", test_fence_interrupted },
	{ "attach_while_fence_pending", test_attach_while_fence_pending },
	{ "blocked_transfer_holds_up_nobody", test_not_held_up },
	{ "attach_waits_for_transfer", test_attach_waits },
	{ "killed_between_chunks", test_killed },
	{ "frozen_file_system_blocks_write_only", test_frozen },
	{ "threads_on_disjoint_ranges", test_threads },
	{ "importers_come_and_go", test_importer_churn },
};

#define NR_TESTS (sizeof(tests) / sizeof(*tests))

static int run_stock(void)
{
	int buf = buf_alloc(page), ret;

	printf("TAP version 13\n1..1\n");
	ret = rw(buf, READ | DIRECT, -1, 0, 0, page);
	printf("%sok 1 stock_kernel_enotty\n", ret == -ENOTTY ? "" : "not ");
	return ret != -ENOTTY;
}

static bool asked_for(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++) {
		if (!strcmp(*names, name))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	int buf, failed = 0, skipped = 0;
	long taint;
	size_t i;

	page = sysconf(_SC_PAGESIZE);
	if (argc < 2) {
		fprintf(stderr, "usage: %s DIR [TEST...] | --stock\n", argv[0]);
		return 1;
	}
	if (!strcmp(argv[1], "--stock"))
		return run_stock();

	dir = argv[1];
	printf("TAP version 13\n");
	buf = buf_alloc_flags(page, O_RDWR);
	if (buf < 0) {
		printf("1..0 # SKIP no system heap: %s\n", strerror(errno));
		return 4;
	}
	if (rw(buf, READ | DIRECT, -1, 0, 0, page) == -ENOTTY) {
		printf("1..0 # SKIP the kernel has no DMA_BUF_IOCTL_RW_FILE\n");
		return 4;
	}
	close(buf);

	printf("1..%zu\n", NR_TESTS);
	for (i = 0; i < NR_TESTS; i++) {
		test_nr = i + 1;
		if (!asked_for(tests[i].name, argv + 2)) {
			printf("ok %d %s # SKIP not asked for\n", test_nr,
			       tests[i].name);
			continue;
		}
		test_failed = false;
		skip_reason[0] = 0;
		taint = tainted();
		fflush(stdout);
		tests[i].run();
		if (tainted() != taint)
			FAIL("the kernel warned");
		if (test_failed) {
			failed++;
			printf("not ok %d %s\n", test_nr, tests[i].name);
		} else if (skip_reason[0]) {
			skipped++;
			printf("ok %d %s # SKIP %s\n", test_nr, tests[i].name,
			       skip_reason);
		} else {
			printf("ok %d %s\n", test_nr, tests[i].name);
		}
		fflush(stdout);
	}
	diag("%zu tests, %d failed, %d skipped", NR_TESTS, failed, skipped);
	return failed ? 1 : 0;
}
