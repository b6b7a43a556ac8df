// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the heap of kernel/module: direct I/O into its mappings, while
 * everything that may go away goes away.
 */
#include "heap.h"
#include "kselftest_harness.h"

#define LEN	(16UL << 20)
#define ROUNDS	20

FIXTURE(heap)
{
	int file;
	int buf;
	char *map;
	unsigned char *expected;
};

FIXTURE_VARIANT(heap)
{
	size_t skew;
};

/* The core maps one PMD for 2 MiB. */
FIXTURE_VARIANT_ADD(heap, huge)
{
	.skew = 0,
};

/* The heap maps page by page. */
FIXTURE_VARIANT_ADD(heap, pages)
{
	.skew = 4096,
};

FIXTURE_SETUP(heap)
{
	size_t i;

	self->expected = malloc(LEN);
	ASSERT_NE(NULL, self->expected);
	for (i = 0; i < LEN; i++)
		self->expected[i] = 1 + (i / 4096 * 7 + i) % 255;
	unlink("heap-test");
	self->file = open("heap-test", O_RDWR | O_CREAT | O_DIRECT, 0600);
	ASSERT_LE(0, self->file);
	self->buf = buf_alloc(LEN);
	ASSERT_LE(0, self->buf);
	self->map = buf_map(self->buf, LEN, variant->skew);
	ASSERT_NE(MAP_FAILED, self->map);

	/* Written from the buffer, too; read back by another path below. */
	memcpy(self->map, self->expected, LEN);
	ASSERT_EQ(LEN, pwrite(self->file, self->map, LEN, 0));
	memset(self->map, 0, LEN);
	ASSERT_EQ(0, fdatasync(self->file));
	ASSERT_EQ(0, posix_fadvise(self->file, 0, 0, POSIX_FADV_DONTNEED));
}

FIXTURE_TEARDOWN(heap)
{
	unlink("heap-test");
}

TEST_F(heap, direct_io_moves_the_data_past_the_page_cache)
{
	unsigned char *copy = malloc(LEN), cached[LEN / 4096];
	unsigned char *view;
	int plain = open("heap-test", O_RDONLY);
	size_t i;

	ASSERT_EQ(LEN, pread(self->file, self->map, LEN, 0));
	EXPECT_EQ(0, memcmp(self->map, self->expected, LEN));

	view = mmap(NULL, LEN, PROT_READ, MAP_SHARED, plain, 0);
	ASSERT_NE(MAP_FAILED, view);
	ASSERT_EQ(0, mincore(view, LEN, cached));
	for (i = 0; i < LEN / 4096; i++)
		ASSERT_EQ(0, cached[i] & 1);
	ASSERT_EQ(LEN, pread(plain, copy, LEN, 0));
	EXPECT_EQ(0, memcmp(copy, self->expected, LEN));
}

TEST_F(heap, mapping_outside_the_buffer_or_private_einval)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, self->buf,
				   LEN - 4096));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_PRIVATE,
				   self->buf, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mremap(self->map, LEN, LEN + 4096, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(heap, child_and_parent_share_the_buffer)
{
	int status;
	pid_t child;

	self->map[0] = 1;
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		ssize_t n = pread(self->file, self->map, LEN / 2, 0);

		self->map[LEN - 1] = 77;
		_exit(n == LEN / 2 ? 0 : 1);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, memcmp(self->map, self->expected, LEN / 2));
	EXPECT_EQ(77, self->map[LEN - 1]);
}

TEST_F(heap, moved_and_split_mapping_shows_the_same_pages)
{
	char *to = mmap(NULL, LEN + HUGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, to);
	to += 12288;
	ASSERT_EQ(LEN, pread(self->file, self->map, LEN, 0));
	ASSERT_EQ(to, mremap(self->map, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED,
			     to));
	EXPECT_EQ(0, memcmp(to, self->expected, LEN));
	ASSERT_EQ(0, munmap(to + HUGE + 4096, 8192));
	EXPECT_EQ(0, memcmp(to, self->expected, HUGE));
	EXPECT_EQ(0, memcmp(to + 2 * HUGE, self->expected + 2 * HUGE,
			    LEN - 2 * HUGE));
	EXPECT_EQ(-1, pread(self->file, to + HUGE + 4096, 8192, 0));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(heap, read_only_mapping_efault)
{
	self->map[0] = 1;
	ASSERT_EQ(0, mprotect(self->map + HUGE, 8192, PROT_READ));
	EXPECT_EQ(-1, pread(self->file, self->map + HUGE, 8192, 0));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, mprotect(self->map + HUGE, 8192, PROT_READ | PROT_WRITE));
	ASSERT_EQ(LEN, pread(self->file, self->map, LEN, 0));
	EXPECT_EQ(0, memcmp(self->map, self->expected, LEN));
}

struct reader {
	int file;
	char *map;
};

static void *read_all(void *argument)
{
	struct reader *reader = argument;

	/* A mapping that goes away meanwhile is EFAULT or a short read. */
	return (void *)pread(reader->file, reader->map, LEN, 0);
}

TEST_F(heap, buffer_closed_and_unmapped_in_the_middle_of_a_read)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		struct reader reader = { .file = self->file };
		int buf = buf_alloc(LEN);
		pthread_t thread;
		void *ret;

		ASSERT_LE(0, buf);
		reader.map = buf_map(buf, LEN, variant->skew);
		ASSERT_NE(MAP_FAILED, reader.map);
		ASSERT_EQ(0, pthread_create(&thread, NULL, read_all, &reader));
		usleep(i * 200);
		close(buf);
		ASSERT_EQ(0, munmap(reader.map, LEN));
		EXPECT_TRUE(new_buffer_stays_zeroed(LEN));
		ASSERT_EQ(0, pthread_join(thread, &ret));
	}
}

TEST_F(heap, process_killed_during_a_read)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		int status;
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			int buf = buf_alloc(LEN);
			char *map = buf_map(buf, LEN, variant->skew);

			for (;;)
				if (pread(self->file, map, LEN, 0) != LEN)
					_exit(1);
		}
		usleep(20000 + i * 700);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
		EXPECT_TRUE(new_buffer_stays_zeroed(LEN));
	}
}

TEST_F(heap, pinned_page_outlives_the_buffer)
{
	struct iovec vector = { .iov_base = self->map, .iov_len = 8192 };
	unsigned char bytes[8192];
	int pipes[2], others[8];
	size_t i;

	ASSERT_EQ(LEN, pread(self->file, self->map, LEN, 0));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(8192, vmsplice(pipes[1], &vector, 1, 0));
	ASSERT_EQ(0, munmap(self->map, LEN));
	close(self->buf);
	for (i = 0; i < 8; i++) {
		char *map;

		others[i] = buf_alloc(LEN);
		map = buf_map(others[i], LEN, 0);
		ASSERT_NE(MAP_FAILED, map);
		memset(map, 0xff, LEN);
	}
	ASSERT_EQ(8192, read(pipes[0], bytes, 8192));
	EXPECT_EQ(0, memcmp(bytes, self->expected, 8192));
}

/*
 * Before Linux 6.5, a ring takes no mapping of a file but those of shmem and
 * hugetlbfs, whatever is behind it.
 */
static bool rings_take_mappings_of_files(int ring, int file)
{
	struct iovec vector = { .iov_len = 4096 };
	bool taken;

	vector.iov_base = mmap(NULL, vector.iov_len, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE, file, 0);
	if (vector.iov_base == MAP_FAILED)
		return true;
	taken = !syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS,
			 &vector, 1) ||
		errno != EOPNOTSUPP;
	syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL,
		0);
	munmap(vector.iov_base, vector.iov_len);
	return taken;
}

TEST_F(heap, io_uring_registration_outlives_the_buffer)
{
	struct io_uring_params params = { 0 };
	struct iovec vector = { .iov_base = self->map, .iov_len = LEN };
	int ring = syscall(__NR_io_uring_setup, 1, &params);
	const char *failed;

	ASSERT_LE(0, ring);
	if (!rings_take_mappings_of_files(ring, self->file))
		SKIP(return, "io_uring takes no mapping of a file");
	ASSERT_EQ(0, syscall(__NR_io_uring_register, ring,
			     IORING_REGISTER_BUFFERS, &vector, 1));
	failed = ring_read(ring, &params, self->file, self->map, LEN, true);
	ASSERT_EQ(NULL, failed)
		TH_LOG("%s", failed);
	EXPECT_EQ(0, memcmp(self->map, self->expected, LEN));
	ASSERT_EQ(0, munmap(self->map, LEN));
	close(self->buf);
	EXPECT_TRUE(new_buffer_stays_zeroed(LEN));
	close(ring);
	EXPECT_TRUE(new_buffer_stays_zeroed(LEN));
}

TEST_F(heap, freed_buffers_come_back)
{
	long before, after;
	int i;

	before = mem_free_kib();
	ASSERT_LT(0, before);
	for (i = 0; i < 64; i++) {
		int buf = buf_alloc(LEN);
		char *map = buf_map(buf, LEN, variant->skew);

		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(LEN, pread(self->file, map, LEN, 0));
		munmap(map, LEN);
		close(buf);
	}
	after = mem_free_kib();
	/* 64 buffers are 1 GiB. */
	EXPECT_GT(256L << 10, before - after);
}

TEST_HARNESS_MAIN
