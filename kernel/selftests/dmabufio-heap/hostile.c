// SPDX-License-Identifier: GPL-2.0
/*
 * Rounds in which a process loses its buffer in the middle of I/O and is killed,
 * at times that no round chooses.
 *
 * HOSTILE_ROUNDS sets their number. On a kernel with KASAN and page_poison=1,
 * also what the CPU or a device does to memory that is free ends up in the log.
 */
#include "heap.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

#include "kselftest_harness.h"

#define LEN	(2 * HUGE)
#define READERS	3
/*
 * Each thread reads into a part of its own, and what an act starts into the last
 * one: DMA_API_DEBUG takes no page that a device has twice.
 */
#define PART	(LEN / (READERS + 1))
#define LAST	(READERS * PART)

/* What the process does to its buffer while its threads read into it. */
enum act {
	NOTHING,
	CLOSE_AND_UNMAP,
	CLOSE_AND_REPLACE,
	UNMAP_A_PART,
	FORK,
	MOVE,
	PROTECT,
	FORGET,
	REGISTER,
	SPLICE,
	ACTS,
};

/* What parent and child both see. */
struct shared {
	int reads;
	int done[ACTS];
	int failed;
	int wrong;
};

struct victim {
	struct shared *shared;
	unsigned int seed;
	int file;
	int buf;
	char *map;
};

struct reader {
	struct victim *victim;
	size_t part;
};

static void *read_on(void *argument)
{
	struct reader *reader = argument;
	struct victim *victim = reader->victim;
	unsigned int seed = victim->seed + reader->part;

	for (;;) {
		size_t skip = rand_r(&seed) % (PART / 4096) * 4096;
		size_t len = 4096 + rand_r(&seed) % ((PART - skip) / 4096) * 4096;
		size_t at = reader->part * PART + skip;

		/* EFAULT or fewer bytes, where the mapping is gone. */
		if (pread(victim->file, victim->map + at, len, at) == (ssize_t)len)
			__atomic_add_fetch(&victim->shared->reads, 1,
					   __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A buffer that a ring has registered, with a read in flight. */
static bool register_and_close(struct victim *victim)
{
	struct iovec vector = { .iov_base = victim->map, .iov_len = LEN };
	struct io_uring_params params = { 0 };
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	if (ring < 0)
		return false;
	/* The threads do not stop for it, so it can fail only where no ring takes it. */
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS,
		    &vector, 1))
		return errno == EOPNOTSUPP;
	if (ring_read(ring, &params, victim->file, victim->map + LAST, PART, false))
		return false;
	close(victim->buf);
	munmap(victim->map, LEN);
	/* The registration and the read end with the ring, or with the process. */
	if (victim->seed % 2)
		close(ring);
	return true;
}

static bool splice_and_close(struct victim *victim)
{
	struct iovec vector = { .iov_base = victim->map, .iov_len = 8 * 4096 };
	int pipes[2];

	if (pipe(pipes) || vmsplice(pipes[1], &vector, 1, 0) <= 0)
		return false;
	close(victim->buf);
	munmap(victim->map, LEN);
	return true;
}

static bool perform(struct victim *victim, enum act act)
{
	char *map = victim->map, *to;
	unsigned int seed = victim->seed;
	size_t at = seed % (LEN / 4096) * 4096;
	int i;

	switch (act) {
	case CLOSE_AND_UNMAP:
		close(victim->buf);
		return !munmap(map, LEN);
	case CLOSE_AND_REPLACE:
		close(victim->buf);
		return mmap(map, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map;
	case UNMAP_A_PART:
		return !munmap(map + at, 4096);
	case FORK:
		/* The child has the mapping, but none of the threads. */
		i = fork();
		if (!i)
			_exit(pread(victim->file, map + LAST, PART, 0) != PART);
		close(victim->buf);
		return i > 0 && !munmap(map, LEN);
	case MOVE:
		to = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return mremap(map, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
	case PROTECT:
		for (i = 0; i < 20; i++)
			if (mprotect(map + at, LEN - at, i % 2 ? PROT_READ : PROT_NONE) ||
			    mprotect(map, LEN, PROT_READ | PROT_WRITE))
				return false;
		return true;
	case FORGET:
		/* The pages stay in the buffer, and come back at the next fault. */
		for (i = 0; i < 20; i++)
			if (madvise(map, LEN, MADV_DONTNEED))
				return false;
		return true;
	case REGISTER:
		return register_and_close(victim);
	case SPLICE:
		return splice_and_close(victim);
	default:
		return true;
	}
}

/* Runs until it is killed. */
static void be_a_victim(struct victim *victim, enum act act, size_t skew)
{
	struct shared *shared = victim->shared;
	struct reader readers[READERS];
	pthread_t thread;
	int i;

	victim->buf = buf_alloc(LEN);
	victim->map = buf_map(victim->buf, LEN, skew);
	if (victim->map == MAP_FAILED)
		_exit(1);
	for (i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .victim = victim, .part = i };
		if (pthread_create(&thread, NULL, read_on, &readers[i]))
			_exit(1);
	}
	usleep(victim->seed % 5000);
	if (!perform(victim, act)) {
		shared->failed = errno ?: -1;
		_exit(1);
	}
	/* While the threads' I/O runs on. */
	if (!new_buffer_stays_zeroed(LEN))
		shared->wrong++;
	__atomic_add_fetch(&shared->done[act], 1, __ATOMIC_RELAXED);
	for (;;)
		pause();
}

/* The number of dma-bufs in the system, of which a pinned page is none. */
static int count_buffers(void)
{
	DIR *dir = opendir("/sys/kernel/dmabuf/buffers");
	struct dirent *entry;
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

FIXTURE(hostile)
{
	struct shared *shared;
	int rounds;
	int file;
};

FIXTURE_VARIANT(hostile)
{
	size_t skew;
};

/* The core maps one PMD for 2 MiB. */
FIXTURE_VARIANT_ADD(hostile, huge)
{
	.skew = 0,
};

/* The heap maps page by page. */
FIXTURE_VARIANT_ADD(hostile, pages)
{
	.skew = 4096,
};

FIXTURE_SETUP(hostile)
{
	const char *rounds = getenv("HOSTILE_ROUNDS");
	void *data;

	self->rounds = rounds ? atoi(rounds) : 40;
	self->shared = mmap(NULL, sizeof(*self->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	/* Orphans are ours to wait for. */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	unlink("hostile-test");
	self->file = open("hostile-test", O_RDWR | O_CREAT | O_DIRECT, 0600);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, posix_memalign(&data, 4096, LEN));
	memset(data, 0xdb, LEN);
	ASSERT_EQ(LEN, pwrite(self->file, data, LEN, 0));
	ASSERT_EQ(0, fdatasync(self->file));
	free(data);
}

FIXTURE_TEARDOWN(hostile)
{
	unlink("hostile-test");
}

TEST_F_TIMEOUT(hostile, buffer_goes_away_in_the_middle_of_io, 7200)
{
	struct shared *shared = self->shared;
	int buffers = count_buffers(), i;
	long before = mem_free_kib();
	unsigned int seed = 2026;

	ASSERT_LE(0, buffers);
	for (i = 0; i < self->rounds; i++) {
		enum act act = i % ACTS;
		struct victim victim = {
			.shared = shared,
			.seed = rand_r(&seed),
			.file = self->file,
		};
		int reads = __atomic_load_n(&shared->reads, __ATOMIC_RELAXED);
		int done = shared->done[act], status, waited;
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child)
			be_a_victim(&victim, act, variant->skew);
		/* Every second round ends at any time, the others some time after the act. */
		for (waited = 0; waited < 10000; waited++) {
			usleep(1000);
			if (__atomic_load_n(&shared->reads, __ATOMIC_RELAXED) != reads &&
			    (i / ACTS % 2 || __atomic_load_n(&shared->done[act], __ATOMIC_RELAXED) != done ||
			     shared->failed))
				break;
		}
		EXPECT_GT(10000, waited);
		usleep(rand_r(&seed) % 2000);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, shared->failed)
			TH_LOG("act %d: errno %d", act, shared->failed);
		ASSERT_TRUE(WIFSIGNALED(status));
		EXPECT_TRUE(new_buffer_stays_zeroed(LEN))
			TH_LOG("round %d, act %d", i, act);
		while (waitpid(-1, &status, 0) > 0)
			EXPECT_EQ(0, status);
	}
	for (i = 0; i < ACTS; i++)
		EXPECT_LE(self->rounds / ACTS / 2, shared->done[i]);
	TH_LOG("%d rounds, %d reads", self->rounds, shared->reads);
	EXPECT_EQ(0, shared->wrong);
	EXPECT_EQ(buffers, count_buffers());
	/* An eighth of what the rounds had. */
	EXPECT_GT((64L << 10) + self->rounds * (long)(LEN >> 10) / 8,
		  before - mem_free_kib());
}

TEST_HARNESS_MAIN
