// SPDX-License-Identifier: GPL-2.0
/*
 * What DMA_BUF_IOCTL_RW_FILE waits for, what waits for it, and what does not:
 * importers, fences, signals, other threads.
 */
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/fanotify.h>

#include "common.h"
#include "importer.h"

/* drivers/dma-buf/sw_sync.c has no uapi header. */
#define SW_SYNC_DEVICE	"/sys/kernel/debug/sync/sw_sync"
struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};

#define SW_SYNC_CREATE	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_INC	_IOW('W', 1, __u32)

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
		err(KSFT_FAIL, "pthread_create");
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

static void expect_busy(struct __test_metadata *const _metadata, int buf,
			int fd, int proc)
{
	EXPECT_EQ(-EBUSY, rw(buf, READ, fd, 0, 0, page));
	EXPECT_EQ(-EBUSY, rw(buf, WRITE | DIRECT, fd, 0, 0, page));
	/* Arguments are still checked first, support for direct I/O is not. */
	EXPECT_EQ(-EBADF, rw(buf, READ, -1, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, READ | DIRECT, -1, 0, 0, page));
	EXPECT_EQ(-EINVAL, rw(buf, READ, fd, 0, 0, 0));
	EXPECT_EQ(-EINVAL, rw(buf, READ, buf, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, WRITE, proc, 0, 0, page));
	EXPECT_EQ(-EBUSY, rw(buf, READ | DIRECT, proc, 0, 0, page));
}

RW_FILE_TEST(attached_or_vmapped_ebusy)
{
	int buf = buf_alloc(page), fd = file_make("busy", page, 17);
	int dev = test_device(), second = test_device();
	int proc = open("/proc/version", O_RDONLY | O_CLOEXEC);

	REQUIRE(dev >= 0 && second >= 0 && proc >= 0);
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, page));
	EXPECT_EQ(0, dev_call(dev, TEST_ATTACH, buf));
	expect_busy(_metadata, buf, fd, proc);
	EXPECT_EQ(0, dev_call(second, TEST_ATTACH, buf));
	EXPECT_EQ(0, dev_call(dev, TEST_DETACH, 0));
	expect_busy(_metadata, buf, fd, proc);
	EXPECT_EQ(0, dev_call(second, TEST_DETACH, 0));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, page));

	EXPECT_EQ(0, dev_call(dev, TEST_VMAP, buf));
	expect_busy(_metadata, buf, fd, proc);
	EXPECT_EQ(0, dev_call(dev, TEST_VUNMAP, 0));
	EXPECT_EQ(0, rw(buf, WRITE, fd, 0, 0, page));

	/* A user mapping does not count. */
	munmap(buf_map(buf, page), page);
	EXPECT_EQ(-EINVAL, rw(buf, READ | DIRECT, proc, 0, 0, page));
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

RW_FILE_TEST(waits_for_fences)
{
	int timeline = timeline_open(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);
	struct job job = { .buf = buf, .fd = fd, .len = page };
	__u32 one = 1;

	REQUIRE(timeline >= 0);

	/* Somebody reads from the buffer: it may be saved, not filled. */
	fence = fence_create(timeline, 1);
	EXPECT_EQ(0, fence_import(buf, fence, DMA_BUF_SYNC_READ));
	close(fence);
	EXPECT_EQ(0, rw(buf, WRITE, fd, 0, 0, page));
	job.flags = READ;
	job_start(&job);
	EXPECT_TRUE(!job_done_within(&job, A_WHILE));
	ioctl(timeline, SW_SYNC_INC, &one);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_EQ(0, job_result(&job));

	/* Somebody writes to the buffer: neither. */
	fence = fence_create(timeline, 2);
	EXPECT_EQ(0, fence_import(buf, fence, DMA_BUF_SYNC_WRITE));
	close(fence);
	job.flags = WRITE | DIRECT;
	job_start(&job);
	EXPECT_TRUE(!job_done_within(&job, A_WHILE));
	ioctl(timeline, SW_SYNC_INC, &one);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_EQ(0, job_result(&job));
}

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	signals++;
}

RW_FILE_TEST(fence_wait_interrupted_eintr)
{
	const struct sigaction act = { .sa_handler = count_signal };
	int timeline = timeline_open(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);

	REQUIRE(timeline >= 0);
	fence = fence_create(timeline, 1);
	EXPECT_EQ(0, fence_import(buf, fence, DMA_BUF_SYNC_WRITE));
	sigaction(SIGALRM, &act, NULL);
	signals = 0;
	ualarm(A_WHILE * 1000, 0);
	EXPECT_EQ(-EINTR, rw(buf, READ, fd, 0, 0, page));
	EXPECT_EQ(1, signals);
	/* Nothing is left behind. Closing the timeline signals the fence. */
	close(timeline);
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, page));
}

/* Importers wait for file I/O, not for what file I/O waits for. */
RW_FILE_TEST(attach_while_fence_pending)
{
	int timeline = timeline_open(), dev = test_device(), fence;
	int buf = buf_alloc(page), fd = file_make("fence", page, 18);
	struct job job = { .buf = buf, .fd = fd, .len = page, .flags = READ };
	struct job attach = { .buf = buf, .dev = dev, .cmd = TEST_ATTACH };
	__u32 one = 1;

	REQUIRE(timeline >= 0 && dev >= 0);
	fence = fence_create(timeline, 1);
	EXPECT_EQ(0, fence_import(buf, fence, DMA_BUF_SYNC_READ));
	job_start(&job);
	EXPECT_TRUE(!job_done_within(&job, A_WHILE));
	job_start(&attach);
	EXPECT_TRUE(job_done_within(&attach, SOON));
	ioctl(timeline, SW_SYNC_INC, &one);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_EQ(0, job_result(&attach));
	EXPECT_EQ(-EBUSY, job_result(&job));
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
static bool gate_open(struct gate *gate, const char *name, int *fd)
{
	gate->event_fd = -1;
	gate->fan = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC |
				  FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	if (gate->fan < 0)
		return false;
	if (fanotify_mark(gate->fan, FAN_MARK_ADD, FAN_ACCESS_PERM, AT_FDCWD,
			  name))
		return false;
	close(*fd);
	*fd = file_open(name, O_RDWR);
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
		err(KSFT_FAIL, "fanotify response");
	close(gate->event_fd);
	gate->event_fd = -1;
}

static void gate_close(struct gate *gate)
{
	close(gate->fan);
	if (gate->event_fd >= 0)
		close(gate->event_fd);
}

RW_FILE_TEST(blocked_transfer_holds_up_nobody)
{
	const size_t size = 8 * page;
	int buf = buf_alloc(size), dev = test_device();
	int fd = file_make("slow", size, 19);
	int quick = file_make("quick", size, 20);
	__u8 *map = buf_map(buf, size);
	struct job job = { .buf = buf, .len = page, .flags = READ | DIRECT };
	struct job vmap = { .buf = buf, .dev = dev, .cmd = TEST_VMAP };
	struct gate gate;

	REQUIRE(gate_open(&gate, "slow", &fd));
	job.fd = fd;
	job_start(&job);
	EXPECT_TRUE(gate_wait(&gate, SOON));

	/* Each would hang, until the alarm ends the test, if it had to wait. */
	alarm(60);
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	munmap(buf_map(buf, size), size);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, quick, 0, 4 * page, 4 * page));
	EXPECT_TRUE(has_pattern(map + 4 * page, 4 * page, 0, 20));
	EXPECT_EQ(0, rw(buf, WRITE, quick, 0, 4 * page, page));
	if (dev >= 0) {
		job_start(&vmap);
		EXPECT_TRUE(job_done_within(&vmap, SOON));
		EXPECT_EQ(0, job_result(&vmap));
		/* It counts for whoever starts now. */
		EXPECT_EQ(-EBUSY, rw(buf, READ, quick, 0, 0, page));
		EXPECT_EQ(0, dev_call(dev, TEST_VUNMAP, 0));
	}
	EXPECT_TRUE(!job_done_within(&job, A_WHILE));
	alarm(0);

	gate_pass(&gate);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_EQ(0, job_result(&job));
	EXPECT_TRUE(has_pattern(map, page, 0, 19));
}

RW_FILE_TEST(attach_waits_for_transfer)
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
	EXPECT_TRUE(gate_wait(&gate, SOON));
	job_start(&attach);
	EXPECT_TRUE(!job_done_within(&attach, A_WHILE));

	/* Newcomers cannot push in before it. */
	EXPECT_EQ(-EBUSY, rw(buf, READ, other, 0, 0, page));
	EXPECT_EQ(-EBADF, rw(buf, READ, -1, 0, 0, page));
	alarm(60);
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	alarm(0);

	gate_pass(&gate);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_TRUE(job_done_within(&attach, SOON));
	EXPECT_EQ(0, job_result(&job));
	EXPECT_EQ(0, job_result(&attach));
	EXPECT_EQ(-EBUSY, rw(buf, READ, other, 0, 0, page));
	EXPECT_EQ(0, dev_call(dev, TEST_DETACH, 0));

	/* An importer that gives up leaves the buffer usable. */
	job_start(&job);
	EXPECT_TRUE(gate_wait(&gate, SOON));
	i = fork();
	if (!i) {
		dev_call(test_device(), TEST_ATTACH, buf);
		_exit(0);
	}
	sleep_ms(A_WHILE);
	EXPECT_EQ(-EBUSY, rw(buf, READ, other, 0, 0, page));
	kill(i, SIGKILL);
	i = wait_child(i, SOON);
	EXPECT_TRUE(i >= 0 && WIFSIGNALED(i));
	EXPECT_EQ(0, rw(buf, READ, other, 0, 0, page));
	gate_pass(&gate);
	EXPECT_EQ(0, job_result(&job));
}

/*
 * A listener is asked once per call into the file system, which shows that the
 * transfer goes in chunks and stops between them when killed.
 */
RW_FILE_TEST(killed_between_chunks)
{
	const size_t size = 2 * CHUNK + page;
	int buf = buf_alloc(size), fd = file_make("slow", 0, 23);
	struct job job = { .buf = buf, .len = size, .flags = READ | DIRECT };
	struct gate gate;
	int calls, pid, status;

	if (ftruncate(fd, size))
		err(KSFT_FAIL, "ftruncate");
	REQUIRE(gate_open(&gate, "slow", &fd));
	job.fd = fd;
	job_start(&job);
	for (calls = 0; gate_wait(&gate, calls < 3 ? SOON : A_WHILE); calls++)
		gate_pass(&gate);
	EXPECT_EQ(0, job_result(&job));
	EXPECT_EQ(3, calls);

	fflush(stdout);
	pid = fork();
	if (!pid) {
		rw(buf, READ | DIRECT, fd, 0, 0, size);
		_exit(0);
	}
	EXPECT_TRUE(gate_wait(&gate, SOON));
	gate_pass(&gate);
	EXPECT_TRUE(gate_wait(&gate, SOON));
	kill(pid, SIGKILL);
	status = wait_child(pid, SOON);
	EXPECT_TRUE(status >= 0 && WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGKILL);
	gate_close(&gate);

	/* Nothing is left behind. */
	close(fd);
	fd = file_make("slow", page, 24);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, page));
}

RW_FILE_TEST(frozen_file_system_blocks_write_only)
{
	int buf = buf_alloc(page), fd = file_make("frozen", page, 25);
	int at = open(".", O_RDONLY | O_CLOEXEC);
	struct job job = { .buf = buf, .fd = fd, .len = page,
			   .flags = WRITE | DIRECT };
	struct stat here, root, out;

	/* Freezing what the test itself runs from would hang it. */
	stat(".", &here);
	stat("/", &root);
	fstat(1, &out);
	errno = EXDEV;
	REQUIRE(here.st_dev != root.st_dev && here.st_dev != out.st_dev);
	/* Reading updates the access time at most once, before the freeze. */
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, page));
	REQUIRE(!ioctl(at, FIFREEZE, 0));
	job_start(&job);
	EXPECT_TRUE(!job_done_within(&job, A_WHILE));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, page));
	ioctl(at, FITHAW, 0);
	EXPECT_TRUE(job_done_within(&job, SOON));
	EXPECT_EQ(0, job_result(&job));
}

struct worker {
	pthread_t thread;
	int buf, fd, nr;
	__u8 *map;
	bool ok;
};

#define WORKERS		4
#define PART		(512 * 1024)
/* A sync of MAPPABLE copies it once or not at all. */
#define SYNCS		1000

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	__u64 at = (__u64)w->nr * PART;
	int i;

	w->ok = true;
	for (i = 0; i < 8 && w->ok; i++) {
		__u32 direct = (i + w->nr) & 1 ? DIRECT : 0;
		__u64 seed = 100 + w->nr * 1000 + i;

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

RW_FILE_TEST(threads_on_disjoint_ranges)
{
	int buf = buf_alloc(WORKERS * PART), i;
	int fd = file_make("threads", WORKERS * PART, 26);
	__u8 *map = buf_map(buf, WORKERS * PART);
	struct worker w[WORKERS];

	for (i = 0; i < WORKERS; i++) {
		w[i] = (struct worker) { .buf = buf, .fd = fd, .nr = i,
					 .map = map };
		pthread_create(&w[i].thread, NULL, worker_main, &w[i]);
	}
	for (i = 0; i < WORKERS; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_TRUE(w[i].ok);
	}
}

static atomic_int churning;

/* Importers come and go while others transfer: EBUSY or success, no hang. */
static void *churn_main(void *arg)
{
	struct worker *w = arg;
	int dev = test_device(), i;

	w->ok = true;
	for (i = 0; i < 100; i++) {
		int ret = dev_call(dev, i & 1 ? TEST_VMAP : TEST_ATTACH,
				   w->buf);

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

RW_FILE_TEST(importers_come_and_go)
{
	const size_t size = MAPPABLE;
	int buf = buf_alloc(size), fd = file_make("churn", size, 27), i;
	int dev = test_device(), busy = 0, done = 0;
	struct worker w[2];

	REQUIRE(dev >= 0);
	atomic_store(&churning, 2);
	for (i = 0; i < 2; i++) {
		w[i] = (struct worker) { .buf = buf, .nr = i };
		pthread_create(&w[i].thread, NULL, churn_main, &w[i]);
	}
	for (i = 0; atomic_load(&churning); i++) {
		int ret = rw(buf, READ | (i & 1 ? DIRECT : 0), fd, 0, 0, size);

		if (ret == -EBUSY) {
			busy++;
		} else {
			EXPECT_EQ(0, ret);
			done++;
		}
	}
	for (i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_TRUE(w[i].ok);
	}
	TH_LOG("%d transfers, %d refused", done, busy);
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, size));
}

/* Attaches and detaches one buffer, and so maps and unmaps it, until told to stop. */
static void *attach_main(void *arg)
{
	struct worker *w = arg;
	int dev = test_device();

	w->ok = dev >= 0;
	while (w->ok && atomic_load(&churning)) {
		w->ok = !dev_call(dev, TEST_ATTACH, w->buf);
		dev_call(dev, TEST_DETACH, 0);
	}
	close(dev);
	return NULL;
}

/*
 * A sync leaves what is being unmapped alone. Otherwise the checks of the DMA
 * API in a debugging kernel warn; and with swiotlb=force also an ordinary one,
 * if the other buffer, of shorter pieces, has got the slots meanwhile.
 */
RW_FILE_TEST(sync_leaves_unmapped_alone)
{
	int buf = buf_alloc(MAPPABLE), dev = test_device(), i;
	struct worker w[2] = {
		{ .buf = buf },
		{ .buf = buf_alloc(15 * page) },	/* pages alone */
	};

	REQUIRE(dev >= 0);
	atomic_store(&churning, 1);
	for (i = 0; i < 2; i++)
		pthread_create(&w[i].thread, NULL, attach_main, &w[i]);
	for (i = 0; i < SYNCS; i++) {
		buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
	}
	atomic_store(&churning, 0);
	for (i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_TRUE(w[i].ok);
	}
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
