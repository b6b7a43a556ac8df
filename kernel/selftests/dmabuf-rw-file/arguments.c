// SPDX-License-Identifier: GPL-2.0
/*
 * What DMA_BUF_IOCTL_RW_FILE refuses, and in which order it checks.
 */
#include <linux/udmabuf.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/swap.h>

#include "common.h"

_Static_assert(sizeof(struct dma_buf_rw_file) == 32, "size");
_Static_assert(offsetof(struct dma_buf_rw_file, flags) == 0, "flags");
_Static_assert(offsetof(struct dma_buf_rw_file, fd) == 4, "fd");
_Static_assert(offsetof(struct dma_buf_rw_file, file_offset) == 8, "file");
_Static_assert(offsetof(struct dma_buf_rw_file, buf_offset) == 16, "buf");
_Static_assert(offsetof(struct dma_buf_rw_file, buf_len) == 24, "buf_len");

RW_FILE_TEST(abi)
{
	EXPECT_EQ(_IOW('b', 4, struct dma_buf_rw_file), DMA_BUF_IOCTL_RW_FILE);
#if defined(__x86_64__) || defined(__i386__) || defined(__arm__) || \
	defined(__aarch64__) || defined(__riscv)
	EXPECT_EQ(0x40206204, DMA_BUF_IOCTL_RW_FILE);
#endif
	EXPECT_EQ(0xff, DMA_BUF_RW_FLAGS_OP_MASK);
	EXPECT_EQ(1, READ);
	EXPECT_EQ(2, WRITE);
	EXPECT_EQ(0x40000000L, ATTACHED);
	EXPECT_EQ(0x80000000L, DIRECT);
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

static int rw_at(int buf, const void *arg)
{
	return ioctl(buf, DMA_BUF_IOCTL_RW_FILE, arg) ? -errno : 0;
}

RW_FILE_TEST(probe)
{
	int buf = buf_alloc(page);

	EXPECT_EQ(-EBADF, rw(buf, READ | DIRECT, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, WRITE | DIRECT, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, READ, -1, 0, 0, page));
}

RW_FILE_TEST(exporter_without_file_io_einval)
{
	int buf = udmabuf_create(page);

	REQUIRE(buf >= 0);
	EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, 0, 0, page));
	/* The argument is fetched first. */
	EXPECT_EQ(-EFAULT, rw_at(buf, (void *)1));
}

RW_FILE_TEST(bad_pointer_efault)
{
	__u8 *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int buf = buf_alloc(page);

	munmap(p + page, page);
	EXPECT_EQ(-EFAULT, rw_at(buf, NULL));
	EXPECT_EQ(-EFAULT, rw_at(buf, p + page - 31));
}

/* With fd -1, whatever is found later than the argument itself is EBADF. */
RW_FILE_TEST(unknown_flags_einval)
{
	int buf = buf_alloc(page), bit, op;

	for (op = 0; op < 256; op++)
		EXPECT_EQ(op == READ || op == WRITE ? -EBADF : -EINVAL,
			  rw(buf, op, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, READ | ATTACHED, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, WRITE | DIRECT | ATTACHED, -1, 0, 0, page));
	for (bit = 8; bit < 30; bit++) {
		EXPECT_EQ(-EINVAL, rw(buf, READ | 1u << bit, -1, 0, 0, page));
		EXPECT_EQ(-EINVAL,
			  rw(buf, WRITE | DIRECT | 1u << bit, -1, 0, 0, page));
	}
}

RW_FILE_TEST(unaligned_direct_einval)
{
	size_t len = 4 * page, i;
	int buf = buf_alloc(len);
	const size_t off_by[] = { 1, 512, page / 2, page - 1 };

	for (i = 0; i < ARRAY_SIZE(off_by); i++) {
		size_t n = off_by[i];

		EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, n, 0, page));
		EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, 0, n, page));
		EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, 0, 0, n));
		EXPECT_EQ(-EINVAL, rw(buf, WRITE | DIRECT, -1, n, n, n));
		EXPECT_EQ(-EBADF, rw(buf, READ, -1, n, 0, page));
		EXPECT_EQ(-EBADF, rw(buf, READ, -1, 0, n, page));
		EXPECT_EQ(-EBADF, rw(buf, WRITE, -1, 0, 0, n));
	}
}

RW_FILE_TEST(range_outside_buffer_einval)
{
	size_t len = 4 * page;
	int buf = buf_alloc(len);
	__u32 direct;

	for (direct = 0; ; direct = DIRECT) {
		EXPECT_EQ(-EINVAL, rw(buf, READ | direct, -1, 0, 0, 0));
		EXPECT_EQ(-EINVAL, rw(buf, READ | direct, -1, 0, len, page));
		EXPECT_EQ(-EINVAL, rw(buf, READ | direct, -1, 0, len, 0));
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, len + page, page));
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, 0, len + page));
		EXPECT_EQ(-EINVAL, rw(buf, READ | direct, -1, 0, page, len));
		/* The sum wraps to something small. */
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, page, -(__u64)page));
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, -(__u64)page,
			     2 * page));
		/* Fits if the upper half gets lost. */
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, 0,
			     (1ULL << 32) + page));
		EXPECT_EQ(-EINVAL,
			  rw(buf, READ | direct, -1, 0, 1ULL << 32, page));
		EXPECT_EQ(-EBADF, rw(buf, READ | direct, -1, 0, 0, len));
		EXPECT_EQ(-EBADF,
			  rw(buf, READ | direct, -1, 0, len - page, page));
		if (direct)
			break;
	}
	EXPECT_EQ(-EBADF, rw(buf, READ, -1, 0, len - 1, 1));
	EXPECT_EQ(-EINVAL, rw(buf, READ, -1, 0, len - 1, 2));
}

RW_FILE_TEST(file_offset_overflow_einval)
{
	const __u64 max = INT64_MAX;
	int buf = buf_alloc(2 * page);

	EXPECT_EQ(-EINVAL, rw(buf, READ, -1, max + 1, 0, 1));
	EXPECT_EQ(-EINVAL, rw(buf, READ, -1, UINT64_MAX, 0, 1));
	EXPECT_EQ(-EINVAL, rw(buf, READ, -1, max, 0, 1));
	EXPECT_EQ(-EINVAL, rw(buf, READ, -1, max - page + 1, 0, page));
	EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, max + 1 - page, 0, page));
	EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, -1, -(__u64)page, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, READ, -1, max - page, 0, page));
	EXPECT_EQ(-EBADF,
		  rw(buf, READ | DIRECT, -1, max + 1 - 2 * page, 0, page));
}

RW_FILE_TEST(dma_buf_access_mode_eacces)
{
	int ro = buf_alloc_flags(page, O_RDONLY);
	int wo = buf_alloc_flags(page, O_WRONLY);
	int fd = file_make("mode", page, 1);
	__u64 first;

	REQUIRE(ro >= 0 && wo >= 0);
	EXPECT_EQ(-EACCES, rw(ro, READ, -1, 0, 0, page));
	EXPECT_EQ(-EACCES, rw(ro, READ, fd, 0, 0, page));
	EXPECT_EQ(-EACCES, rw(wo, WRITE, -1, 0, 0, page));
	EXPECT_EQ(-EACCES, rw(wo, WRITE | DIRECT, fd, 0, 0, page));
	/* Bad arguments come first. */
	EXPECT_EQ(-EINVAL, rw(ro, READ, -1, 0, 0, page + 1));
	EXPECT_EQ(-EINVAL, rw(ro, READ, -1, UINT64_MAX, 0, page));
	EXPECT_EQ(-EBADF, rw(ro, WRITE, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(wo, READ, -1, 0, 0, page));
	EXPECT_EQ(0, rw(wo, READ, fd, 0, 0, page));
	EXPECT_EQ(0, rw(ro, WRITE, fd, 0, 0, page));
	/* A buffer that could never be written to holds zeros. */
	if (pread(fd, &first, sizeof(first), 8) != sizeof(first))
		err(KSFT_FAIL, "pread");
	EXPECT_EQ(0, first);
}

static void expect_both(struct __test_metadata *const _metadata, int buf,
			int fd, int read, int write)
{
	__u32 direct;

	for (direct = 0; ; direct = DIRECT) {
		EXPECT_EQ(read, rw(buf, READ | direct, fd, 0, 0, page));
		EXPECT_EQ(write, rw(buf, WRITE | direct, fd, 0, 0, page));
		if (direct)
			break;
	}
}

RW_FILE_TEST(file_kinds)
{
	int buf = buf_alloc(page), other = buf_alloc(page);
	int fd, pair[2];

	fd = file_make("kinds", page, 2);
	close(fd);
	expect_both(_metadata, buf, fd, -EBADF, -EBADF);

	fd = file_open("kinds", O_PATH);
	expect_both(_metadata, buf, fd, -EBADF, -EBADF);
	close(fd);

	fd = open(".", O_RDONLY | O_DIRECTORY);
	expect_both(_metadata, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	if (pipe(pair))
		err(KSFT_FAIL, "pipe");
	expect_both(_metadata, buf, pair[0], -EINVAL, -EINVAL);
	expect_both(_metadata, buf, pair[1], -EINVAL, -EINVAL);
	close(pair[0]);
	close(pair[1]);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(KSFT_FAIL, "socketpair");
	expect_both(_metadata, buf, pair[0], -EINVAL, -EINVAL);
	close(pair[0]);
	close(pair[1]);

	fd = open("/dev/null", O_RDWR);
	expect_both(_metadata, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	fd = open("/dev/zero", O_RDWR);
	expect_both(_metadata, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	fd = eventfd(1, 0);
	expect_both(_metadata, buf, fd, -EINVAL, -EINVAL);
	close(fd);

	expect_both(_metadata, buf, buf, -EINVAL, -EINVAL);
	expect_both(_metadata, buf, other, -EINVAL, -EINVAL);

	fd = file_open("kinds", O_RDONLY);
	expect_both(_metadata, buf, fd, 0, -EBADF);
	close(fd);

	fd = file_open("kinds", O_WRONLY);
	expect_both(_metadata, buf, fd, -EBADF, 0);
	close(fd);

	fd = memfd_create("rw_file", MFD_CLOEXEC);
	if (ftruncate(fd, page))
		err(KSFT_FAIL, "ftruncate");
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, page));
	EXPECT_EQ(0, rw(buf, WRITE, fd, 0, 0, page));
}

RW_FILE_TEST(append_ebadf)
{
	int buf = buf_alloc(page);
	int fd = file_make("append", page, 3);
	struct stat st;

	close(fd);
	fd = file_open("append", O_RDWR | O_APPEND);
	expect_both(_metadata, buf, fd, 0, -EBADF);
	fcntl(fd, F_SETFL, 0);
	EXPECT_EQ(0, rw(buf, WRITE, fd, 0, 0, page));
	fcntl(fd, F_SETFL, O_APPEND);
	EXPECT_EQ(-EBADF, rw(buf, WRITE, fd, 0, 0, page));
	EXPECT_TRUE(!fstat(fd, &st) && st.st_size == (off_t)page);
}

/* A file below /proc is regular but cannot do direct I/O. */
RW_FILE_TEST(file_without_direct_einval)
{
	int buf = buf_alloc(page);
	__u8 *map = buf_map(buf, page);
	int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, fd, 0, 0, page));
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, page));
	EXPECT_TRUE(!memcmp(map, "Linux version", 13));
}

RW_FILE_TEST(swapfile_etxtbsy)
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

	header->info.version = 1;
	header->info.last_page = len / page - 1;
	memcpy(header->bytes + page - 10, "SWAPSPACE2", 10);
	if (pwrite(fd, header, page, 0) != (ssize_t)page || fsync(fd))
		err(KSFT_FAIL, "swap header");
	free(header);
	REQUIRE(!swapon("swap", 0));
	expect_both(_metadata, buf, fd, -ETXTBSY, -ETXTBSY);
	swapoff("swap");
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
