// SPDX-License-Identifier: GPL-2.0
/*
 * What DMA_BUF_IOCTL_RW_FILE does with files that are not simple, and how it
 * passes on their errors.
 */
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/resource.h>

#include "common.h"
#include "scsi_debug.h"

/* Files that are never read directly: asking for it must not make them fail. */
RW_FILE_TEST(verity_file_reads)
{
	const size_t size = 64 * page, eof = 37 * page + 100;
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.block_size = 4096,
	};
	int buf = buf_alloc(size), fd = file_make("verity", eof, 29);
	__u8 *map = buf_map(buf, size);

	close(fd);
	fd = file_open("verity", O_RDONLY);
	REQUIRE(!ioctl(fd, FS_IOC_ENABLE_VERITY, &arg));
	buf_fill(buf, map, size, GUARD);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_TRUE(has_pattern(map, eof, 0, 29));
	EXPECT_TRUE(all_bytes(map + 38 * page, size - 38 * page, GUARD));
	EXPECT_EQ(-EBADF, rw(buf, WRITE | DIRECT, fd, 0, 0, size));
}

RW_FILE_TEST(compressed_file_reads_and_writes)
{
	const size_t size = 64 * page;
	int buf = buf_alloc(size), fd = file_make("compressed", 0, 30);
	__u8 *map = buf_map(buf, size);
	int flags = 0;

	REQUIRE(!ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_COMPR_FL;
	REQUIRE(!ioctl(fd, FS_IOC_SETFLAGS, &flags));
	buf_fill(buf, map, size, 0x11);
	EXPECT_EQ(0, rw(buf, WRITE | DIRECT, fd, 0, 0, size));
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	buf_fill(buf, map, size, GUARD);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, page, page, 60 * page));
	EXPECT_TRUE(all_bytes(map, page, GUARD));
	EXPECT_TRUE(all_bytes(map + page, 60 * page, 0x11));
	EXPECT_TRUE(all_bytes(map + 61 * page, 3 * page, GUARD));
}

/* A file opened with O_DIRECT is read as read() would read it. */
RW_FILE_TEST(o_direct_file_as_read)
{
	const size_t size = 4 * page;
	int buf = buf_alloc(size), fd = file_make("odirect", size, 12);
	__u8 *map = buf_map(buf, size);
	void *block;
	int want;

	close(fd);
	fd = file_open("odirect", O_RDONLY | O_DIRECT);
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, size));
	EXPECT_TRUE(has_pattern(map, size, 0, 12));

	if (posix_memalign(&block, page, size))
		err(KSFT_FAIL, "posix_memalign");
	want = pread(fd, block, page, 1) < 0 ? -errno : 0;
	EXPECT_EQ(want, rw(buf, READ, fd, 1, 0, page));
}

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	signals++;
}

RW_FILE_TEST(file_size_limit_efbig)
{
	const struct sigaction act = { .sa_handler = count_signal };
	int buf = buf_alloc(16 * page), fd = file_make("limit", 0, 13);
	struct rlimit old, limit;
	struct stat st;
	__u32 direct;

	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit) {
		.rlim_cur = 4 * page,
		.rlim_max = old.rlim_max,
	};
	sigaction(SIGXFSZ, &act, NULL);
	for (direct = 0; ; direct = DIRECT) {
		signals = 0;
		if (ftruncate(fd, 0))
			err(KSFT_FAIL, "ftruncate");
		setrlimit(RLIMIT_FSIZE, &limit);
		EXPECT_EQ(-EFBIG, rw(buf, WRITE | direct, fd, 0, 0, 16 * page));
		EXPECT_EQ(1, signals);
		EXPECT_EQ(-EFBIG,
			  rw(buf, WRITE | direct, fd, 8 * page, 0, page));
		EXPECT_EQ(2, signals);
		EXPECT_EQ(0, rw(buf, WRITE | direct, fd, 0, 0, 4 * page));
		setrlimit(RLIMIT_FSIZE, &old);
		EXPECT_TRUE(!fstat(fd, &st) && st.st_size == (off_t)(4 * page));
		if (direct)
			break;
	}
}

RW_FILE_TEST(no_space_enospc)
{
	const size_t size = 2 * MIB;
	int buf = buf_alloc(size), fd;
	bool direct;

	mkdir("small", 0700);
	REQUIRE(!mount("tmpfs", "small", "tmpfs", 0, "size=1m"));
	fd = file_open("small/f", O_RDWR | O_CREAT);
	EXPECT_EQ(-ENOSPC, rw(buf, WRITE, fd, 0, 0, size));
	/* Before Linux 6.6, tmpfs refuses direct I/O. */
	direct = open("small/f", O_RDWR | O_CLOEXEC | O_DIRECT) >= 0;
	EXPECT_EQ(direct ? -ENOSPC : -EINVAL,
		  rw(buf, WRITE | DIRECT, fd, 0, 0, size));
	umount2("small", MNT_DETACH);
}

RW_FILE_TEST(block_device)
{
	const size_t size = 4 * MIB;
	int buf = buf_alloc(size), file = file_make("loop", size, 14);
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), nr, dev;
	__u8 *map = buf_map(buf, size);
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
		EXPECT_EQ(0, rw(buf, READ | direct, dev, 0, 0, size));
		EXPECT_TRUE(has_pattern(map, size, 0, 14));
		buf_fill(buf, map, size, GUARD);
		EXPECT_EQ(0,
			  rw(buf, READ | direct, dev, size - 2 * page, 0,
			     size));
		EXPECT_TRUE(has_pattern(map, 2 * page, size - 2 * page, 14));
		EXPECT_TRUE(all_bytes(map + 2 * page, size - 2 * page, GUARD));
		EXPECT_EQ(0, rw(buf, READ | direct, dev, size, 0, size));
		EXPECT_EQ(0, rw(buf, READ | direct, dev, 0, 0, size));
		EXPECT_EQ(0, rw(buf, WRITE | direct, dev, 0, 0, size));
		EXPECT_EQ(0, rw(buf, WRITE | direct, dev, size - 2 * page,
				size - 2 * page, 2 * page));
		EXPECT_EQ(-ENOSPC, rw(buf, WRITE | direct, dev, size, 0, page));
		if (direct)
			break;
	}
	fsync(dev);
	EXPECT_TRUE(file_has_pattern(file, 0, size, 0, 14));
	ioctl(dev, LOOP_CLR_FD);
}

/* The medium fails in the middle: the error arrives, the count does not. */
RW_FILE_TEST(medium_error_reported)
{
	const size_t size = 4 * MIB, bad = 0x1234 * 512 / MIB * MIB;
	struct dma_buf_rw_extent extents[4];
	int buf = buf_alloc(size), dev, want, i;
	void *block;

	REQUIRE(write_text(SCSI_DEBUG "add_host", "1"));
	dev = scsi_debug_open(20000);
	if (dev < 0) {
		write_text(SCSI_DEBUG "add_host", "-1");
		REQUIRE(dev >= 0);
	}
	if (posix_memalign(&block, page, MIB))
		err(KSFT_FAIL, "posix_memalign");
	write_text(SCSI_DEBUG "opts", "2");
	fcntl(dev, F_SETFL, O_DIRECT);
	want = pread(dev, block, MIB, bad) < 0 ? -errno : 0;
	fcntl(dev, F_SETFL, 0);
	EXPECT_TRUE(want < 0);
	EXPECT_EQ(want, rw(buf, READ | DIRECT, dev, bad, 0, MIB));
	EXPECT_EQ(want, rw(buf, READ | DIRECT, dev, 0, 0, size));
	EXPECT_EQ(-EIO, rw(buf, READ, dev, 0, 0, size));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, dev, 0, 0, bad));

	/* Of many, what was before the bad block counts. */
	for (i = 0; i < 4; i++)
		extents[i] = (struct dma_buf_rw_extent) {
			.file_offset = i * MIB,
			.buf_offset = i * MIB,
			.len = MIB,
		};
	EXPECT_EQ(want, rw_extents(buf, READ | DIRECT, dev, extents, 4));
	for (i = 0; i < 4; i++)
		if (i * MIB == bad)
			EXPECT_EQ(0, extents[i].done);
	EXPECT_EQ(MIB, extents[0].done);
	write_text(SCSI_DEBUG "opts", "0");
	EXPECT_EQ(0, rw_extents(buf, READ | DIRECT, dev, extents, 4));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(MIB, extents[i].done);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, dev, 0, 0, size));
	close(dev);
	write_text(SCSI_DEBUG "add_host", "-1");
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
