// SPDX-License-Identifier: GPL-2.0
/*
 * DMA_HEAP_FLAG_FILL: looking at a buffer, other transfers, an end of the
 * process and another size of the file while the buffer is being filled.
 */
#include "fill.h"

struct reader {
	int buf, fd, ret;
	__u32 flags;
	size_t offset, len;
	atomic_bool done;
};

static void *read_main(void *arg)
{
	struct reader *r = arg;

	r->ret = rw(r->buf, r->flags, r->fd, r->offset, r->offset, r->len);
	atomic_store(&r->done, true);
	return NULL;
}

/* Who looks in the middle sees zeros, the file, and nothing else; in the end all of the file. */
RW_FILE_TEST(looked_at_while_filled)
{
	const size_t size = 2 * MIB + 5 * page;
	static __u8 got[MAX_SIZE];
	struct reader r = { .fd = file_make("looked", size, 54) };
	int dev = test_device(), out, round, meanwhile = 0;
	struct dma_buf_rw_extent e[2] = {};
	pthread_t thread;

	REQUIRE(dev >= 0);
	for (round = 0; round < 120; round++) {
		r.buf = fill_alloc(size);
		r.flags = READ | (round % 2 ? DIRECT : 0);
		r.len = size;
		atomic_store(&r.done, false);
		posix_fadvise(r.fd, 0, 0, POSIX_FADV_DONTNEED);
		pthread_create(&thread, NULL, read_main, &r);
		usleep(rand() % 1500);
		switch (round / 2 % 3) {
		case 0:
			EXPECT_TRUE(look_at(r.buf, MAPPED, dev, got, size));
			break;
		case 1:
			EXPECT_TRUE(look_at(r.buf, BY_KERNEL, dev, got, size));
			break;
		case 2:
			out = file_open("saved", O_RDWR | O_CREAT | O_TRUNC);
			e[0] = (struct dma_buf_rw_extent) { 0, 0, MIB };
			e[1] = (struct dma_buf_rw_extent) { MIB, MIB,
							    size - MIB };
			EXPECT_EQ(0, rw_extents(r.buf, WRITE | DIRECT, out, e,
						2));
			EXPECT_EQ((ssize_t)size, pread(out, got, size, 0));
			close(out);
		}
		meanwhile += !atomic_load(&r.done);
		ASSERT_TRUE(file_or_zeros(got, size, 54));
		pthread_join(thread, NULL);
		/* Refused while the buffer was mapped into the kernel. */
		if (r.ret == -EBUSY && round / 2 % 3 == 1)
			read_main(&r);
		EXPECT_EQ(0, r.ret);
		EXPECT_TRUE(look_at(r.buf, MAPPED, dev, got, size));
		ASSERT_TRUE(has_pattern(got, size, 0, 54));
		free_stale(r.buf, size);
	}
	ksft_print_msg("%d of %d looked before the end\n", meanwhile, round);
	EXPECT_TRUE(meanwhile > 0);
}

/* Many pieces in flight, and a look in the middle: those are read once more. */
RW_FILE_TEST(looked_at_while_pieces_are_in_flight)
{
	const size_t size = 3 * MIB, block = 16 * page;
	struct dma_buf_rw_extent e[MAX_SIZE / (16 * 4096)];
	static __u8 got[MAX_SIZE];
	int fd = file_make("pieces", size, 55), round, status;
	size_t i, n = size / block;

	REQUIRE(n <= sizeof(e) / sizeof(*e));
	fflush(stdout);
	for (round = 0; round < 60; round++) {
		int buf = fill_alloc(size);
		pid_t pid = fork();

		if (!pid) {
			usleep(rand() % 2000 + round * 5);
			/* As good as any other way to look, in another process. */
			_exit(file_or_zeros(buf_map(buf, size), size, 55) ?
			      0 : 1);
		}
		for (i = 0; i < n; i++)
			e[i] = (struct dma_buf_rw_extent) {
				.file_offset = (i * 7 + 3) % n * block,
				.buf_offset = (i * 7 + 3) % n * block,
				.len = block,
			};
		EXPECT_EQ(0, rw_extents(buf, READ | DIRECT, fd, e, n));
		for (i = 0; i < n; i++)
			EXPECT_EQ(block, e[i].done);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_TRUE(look_at(buf, MAPPED, -1, got, size));
		ASSERT_TRUE(has_pattern(got, size, 0, 55));
		free_stale(buf, size);
	}
}

/* Transfers that share their pages keep what the others moved. */
RW_FILE_TEST(threads_share_pages)
{
	const size_t size = 64 * page, part = size / 8 + 100;
	int fd = file_make("shared", size, 56), round, i;
	static __u8 got[MAX_SIZE];

	for (round = 0; round < 100; round++) {
		struct reader r[8] = {};
		pthread_t threads[8];
		int buf = fill_alloc(size);
		size_t at = 0;

		for (i = 0; i < 8; i++, at += part) {
			r[i] = (struct reader) {
				.buf = buf, .fd = fd, .flags = READ,
				.offset = at,
				.len = at + part < size ? part : size - at,
			};
			pthread_create(&threads[i], NULL, read_main, &r[i]);
		}
		for (i = 0; i < 8; i++) {
			pthread_join(threads[i], NULL);
			EXPECT_EQ(0, r[i].ret);
		}
		EXPECT_TRUE(look_at(buf, round % 3, -1, got, size));
		ASSERT_TRUE(has_pattern(got, size, 0, 56));
		free_stale(buf, size);
	}
}

RW_FILE_TEST(killed_while_filling)
{
	const size_t size = MAX_SIZE;
	int fd = file_make("killed", size, 57), dev = test_device();
	static __u8 got[MAX_SIZE];
	int round, status;

	REQUIRE(dev >= 0);
	fflush(stdout);
	for (round = 0; round < 60; round++) {
		int buf = fill_alloc(size);
		pid_t pid = fork();

		if (!pid) {
			struct dma_buf_rw_extent e[2] = {
				{ 0, 0, MIB }, { MIB, MIB, 2 * MIB },
			};

			if (round % 2)
				rw(buf, READ | (round % 4 < 2 ? DIRECT : 0),
				   fd, 0, 0, size);
			else
				rw_extents(buf, READ | DIRECT, fd, e, 2);
			_exit(0);
		}
		usleep(rand() % 4000);
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(look_at(buf, rand() % BY_DEVICE, dev, got, size));
		ASSERT_TRUE(file_or_zeros(got, size, 57));
		free_stale(buf, size);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
}

/* A look that is killed while it clears leaves nothing to be seen. */
RW_FILE_TEST(killed_while_looking)
{
	const size_t size = 256 * MIB;
	int round, status, killed = 0;

	fflush(stdout);
	for (round = 0; round < 5; round++) {
		int buf = fill_alloc(size);
		pid_t pid = fork();
		__u8 *map;

		if (!pid) {
			map = mmap(NULL, size, PROT_READ, MAP_SHARED, buf, 0);
			_exit(map == MAP_FAILED);
		}
		usleep(rand() % 20000);
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, waitpid(pid, &status, 0));
		killed += WIFSIGNALED(status);
		map = buf_map(buf, size);
		ASSERT_TRUE(!map[0] && !memcmp(map, map + 1, size - 1));
		munmap(map, size);
		free_stale(buf, size);
	}
	ksft_print_msg("%d of %d killed\n", killed, round);
	EXPECT_TRUE(killed > 0);
}

static void *resize_main(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->done)) {
		if (ftruncate(r->fd, rand() % (2 * MIB)) ||
		    ftruncate(r->fd, 2 * MIB))
			err(KSFT_FAIL, "ftruncate");
	}
	return NULL;
}

RW_FILE_TEST(file_resized_while_filling)
{
	const size_t size = 2 * MIB;
	struct reader r = { .fd = file_make("resized", size, 58) };
	static __u8 got[MAX_SIZE];
	pthread_t thread;
	int round, ret;

	pthread_create(&thread, NULL, resize_main, &r);
	for (round = 0; round < 100; round++) {
		struct dma_buf_rw_extent e[2] = {
			{ MIB, MIB, MIB }, { 0, 0, MIB },
		};
		int buf = fill_alloc(size);

		if (round % 3)
			ret = rw(buf, READ | (round % 3 == 1 ? DIRECT : 0),
				 r.fd, 0, 0, size);
		else
			ret = rw_extents(buf, READ | DIRECT, r.fd, e, 2);
		EXPECT_TRUE(ret == 0 || ret == -EIO);
		EXPECT_TRUE(look_at(buf, rand() % 3, -1, got, size));
		ASSERT_TRUE(file_or_zeros(got, size, 58));
		free_stale(buf, size);
	}
	atomic_store(&r.done, true);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	return fill_main(argc, argv);
}
