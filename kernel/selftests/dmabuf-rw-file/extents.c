// SPDX-License-Identifier: GPL-2.0
/* DMA_BUF_IOCTL_RW_EXTENTS: arguments, counts, data, and an end at any time. */
#include <signal.h>
#include <stddef.h>

#include "common.h"

_Static_assert(sizeof(struct dma_buf_rw_extent) == 32, "extent");
_Static_assert(sizeof(struct dma_buf_rw_extents) == 24, "extents");
_Static_assert(offsetof(struct dma_buf_rw_extents, extents) == 16, "pointer");

#define MAX	DMA_BUF_RW_EXTENTS_MAX

RW_FILE_TEST(arguments_are_checked)
{
	struct dma_buf_rw_extent good = { 0, 0, page, 7 }, one = good;
	struct dma_buf_rw_extent two[] = { good, { 0, page, page } };
	struct dma_buf_rw_extents arg = { .flags = READ, .count = 1 };
	struct dma_buf_rw_extent *many = calloc(MAX + 1, sizeof(*many));
	int buf = buf_alloc(page), fd = file_make("arguments", page, 41);
	__u8 *map = buf_map(buf, page);
	size_t i;

	EXPECT_EQ(_IOW('b', 5, struct dma_buf_rw_extents),
		  DMA_BUF_IOCTL_RW_EXTENTS);
	EXPECT_EQ(4096, MAX);
	buf_fill(buf, map, page, GUARD);

	/* The probe. */
	EXPECT_EQ(-EBADF, rw_extents(buf, READ | DIRECT, -1, &one, 1));
	EXPECT_EQ(7, one.done);

	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, fd, &one, 0));
	for (i = 0; i <= MAX; i++)
		many[i] = good;
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, fd, many, MAX + 1));
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, fd, many, UINT32_MAX));
	EXPECT_EQ(-EFAULT, rw_extents(buf, READ, fd, NULL, 1));
	EXPECT_EQ(-EFAULT, ioctl(buf, DMA_BUF_IOCTL_RW_EXTENTS, NULL) ?
			   -errno : 0);
	EXPECT_EQ(-EINVAL, rw_extents(buf, 0, fd, &one, 1));
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ | 1 << 29, fd, &one, 1));
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, buf, &one, 1));

	arg.fd = fd;
	arg.extents = (uintptr_t)&one;
	arg.reserved = 1;
	EXPECT_EQ(-EINVAL, ioctl(buf, DMA_BUF_IOCTL_RW_EXTENTS, &arg) ?
			   -errno : 0);

	/* One bad one, and none is started. */
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, fd, two, 2));
	one.len = 0;
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ, fd, &one, 1));
	one = good;
	one.file_offset = 512;
	EXPECT_EQ(-EINVAL, rw_extents(buf, READ | DIRECT, fd, &one, 1));
	EXPECT_TRUE(all_bytes(map, page, GUARD));

	EXPECT_EQ(0, rw_extents(buf, READ, fd, many, MAX));
	EXPECT_TRUE(has_pattern(map, page, 0, 41));
	EXPECT_EQ(page, many[MAX - 1].done);
}

/* The counts are exact, also at the end of the file and behind it. */
RW_FILE_TEST(counts_end_with_the_file)
{
	const size_t size = 3 * page + 100;
	int buf = buf_alloc(8 * page), fd = file_make("counts", size, 42);
	__u8 *map = buf_map(buf, 8 * page);
	__u32 direct;

	for (direct = 0; ; direct = DIRECT) {
		struct dma_buf_rw_extent extents[] = {
			{ 2 * page, 0, 4 * page },
			{ 0, 5 * page, page },
			{ 4 * page, 6 * page, page },
		};

		buf_fill(buf, map, 8 * page, GUARD);
		EXPECT_EQ(0, rw_extents(buf, READ | direct, fd, extents, 3));
		EXPECT_EQ(page + 100, extents[0].done);
		EXPECT_EQ(page, extents[1].done);
		EXPECT_EQ(0, extents[2].done);
		EXPECT_TRUE(has_pattern(map, page + 100, 2 * page, 42));
		EXPECT_TRUE(all_bytes(map + 2 * page, 3 * page, GUARD));
		EXPECT_TRUE(has_pattern(map + 5 * page, page, 0, 42));
		EXPECT_TRUE(all_bytes(map + 6 * page, 2 * page, GUARD));
		if (direct)
			break;
	}
}

/* The extents of a permutation of blocks, so that nothing is in order. */
static struct dma_buf_rw_extent *shuffled(size_t count, size_t block)
{
	struct dma_buf_rw_extent *extents = calloc(count, sizeof(*extents));
	size_t i;

	for (i = 0; i < count; i++)
		extents[i] = (struct dma_buf_rw_extent) {
			.file_offset = i * block,
			.buf_offset = (i * 37 + 11) % count * block,
			.len = block,
		};
	for (i = count - 1; i > 0; i--) {
		size_t other = rand() % (i + 1);
		struct dma_buf_rw_extent saved = extents[i];

		extents[i] = extents[other];
		extents[other] = saved;
	}
	return extents;
}

static void shuffle_there_and_back(struct __test_metadata *const _metadata,
				   size_t count, size_t block, __u32 flags)
{
	const size_t size = count * block;
	struct dma_buf_rw_extent *extents = shuffled(count, block);
	int buf = buf_alloc(size), in = file_make("in", size, 43);
	int out = file_make("out", 0, 0);
	__u8 *map = buf_map(buf, size);
	size_t i;

	EXPECT_EQ(0, rw_extents(buf, READ | flags, in, extents, count));
	for (i = 0; i < count; i++) {
		EXPECT_EQ(block, extents[i].done);
		EXPECT_TRUE(has_pattern(map + extents[i].buf_offset, block,
					extents[i].file_offset, 43));
	}

	EXPECT_EQ(0, rw_extents(buf, WRITE | flags, out, extents, count));
	for (i = 0; i < count; i++)
		EXPECT_EQ(block, extents[i].done);
	EXPECT_TRUE(file_has_pattern(out, 0, size, 0, 43));

	/* Also where the blocks exist. */
	buf_fill(buf, map, size, 0);
	EXPECT_EQ(0, rw_extents(buf, WRITE | flags, in, extents, count));
	close(buf);
	EXPECT_TRUE(all_bytes(map, size, 0));
	munmap(map, size);
	map = malloc(size);
	EXPECT_EQ((ssize_t)size, pread(in, map, size, 0));
	EXPECT_TRUE(all_bytes(map, size, 0));
	free(map);
	free(extents);
	close(in);
	close(out);
}

RW_FILE_TEST(shuffled_blocks_there_and_back)
{
	shuffle_there_and_back(_metadata, 1000, 4 * page, DIRECT);
	/* Prime to 37, and with pieces that are shorter than the others. */
	shuffle_there_and_back(_metadata, 18, 2 * MIB + 3 * page, DIRECT);
	shuffle_there_and_back(_metadata, 100, 1000, 0);
}

/* A file that shrinks and grows: never an error, never a byte beyond a count. */
static void *resize_main(void *arg)
{
	int *fd = arg, i;

	for (i = 0; i < 200; i++)
		if (ftruncate(*fd, i % 2 ? 4 * MIB : MIB + 100))
			err(KSFT_FAIL, "ftruncate");
	atomic_store((atomic_int *)(fd + 1), 1);
	return NULL;
}

RW_FILE_TEST(file_resized_meanwhile)
{
	const size_t block = MIB / 4, count = 16;
	int buf = buf_alloc(4 * MIB), i;
	struct { int fd; atomic_int done; } file = {
		.fd = file_make("resized", 4 * MIB, 44),
	};
	pthread_t thread;

	pthread_create(&thread, NULL, resize_main, &file);
	while (!atomic_load(&file.done)) {
		struct dma_buf_rw_extent *extents = shuffled(count, block);
		int ret = rw_extents(buf, READ | DIRECT, file.fd, extents,
				     count);

		/* EIO: it stopped in the middle of what exists again now. */
		EXPECT_TRUE(ret == 0 || ret == -EIO);
		for (i = 0; i < (int)count; i++)
			EXPECT_TRUE(extents[i].done <= block);
		free(extents);
	}
	pthread_join(thread, NULL);
}

/* The kernel waits for what is in flight, and the buffer is as good as new. */
RW_FILE_TEST(killed_at_any_time)
{
	const size_t block = 64 * 1024, count = 512, size = count * block;
	struct dma_buf_rw_extent *extents = shuffled(count, block);
	int buf = buf_alloc(size), fd = file_make("killed", size, 45), i;
	__u8 *map = buf_map(buf, size);
	int status, killed = 0;

	fflush(stdout);
	for (i = 0; i < 50; i++) {
		pid_t pid = fork();

		if (!pid) {
			for (;;)
				rw_extents(buf, (i % 2 ? READ : WRITE) | DIRECT,
					   fd, extents, count);
		}
		usleep(rand() % 20000);
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		killed += WIFSIGNALED(status);
		/* Nothing arrives later. */
		buf_fill(buf, map, size, GUARD);
		usleep(10000);
		EXPECT_TRUE(all_bytes(map, size, GUARD));
		close(fd);
		fd = file_make("killed", size, 45);
	}
	EXPECT_EQ(50, killed);
	EXPECT_EQ(0, rw_extents(buf, READ | DIRECT, fd, extents, count));
	for (i = 0; i < (int)count; i++)
		EXPECT_TRUE(has_pattern(map + extents[i].buf_offset, block,
					extents[i].file_offset, 45));
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
