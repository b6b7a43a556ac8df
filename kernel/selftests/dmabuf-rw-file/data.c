// SPDX-License-Identifier: GPL-2.0
/*
 * What DMA_BUF_IOCTL_RW_FILE transfers, and how that is counted.
 */
#include <sys/sysinfo.h>

#include "common.h"

/* One of each order that the heap allocates: 1 MiB, 64 KiB, single pages. */
static size_t mixed_len(void)
{
	return 2 * MIB + 3 * 65536 + 5 * 4096;
}

/*
 * Transfer both ways, check the range against the file, and everything around
 * the range against what was there.
 */
static void check_range(struct __test_metadata *const _metadata, int buf,
			__u8 *map, size_t size, int fd, __u32 direct,
			__u64 file_offset, __u64 buf_offset, size_t len)
{
	static __u64 seed = 1000;
	int out = file_open("out", O_RDWR | O_CREAT);
	bool same;

	buf_fill(buf, map, size, GUARD);
	EXPECT_EQ(0, rw(buf, READ | direct, fd, file_offset, buf_offset, len));
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ);
	same = has_pattern(map + buf_offset, len, file_offset, 5) &&
	       all_bytes(map, buf_offset, GUARD) &&
	       all_bytes(map + buf_offset + len, size - buf_offset - len,
			 GUARD);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ);

	seed += size;
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	pattern(map, size, 0, seed);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
	EXPECT_EQ(0,
		  rw(buf, WRITE | direct, out, file_offset, buf_offset, len));
	same = same &&
	       file_has_pattern(out, file_offset, len, buf_offset, seed);
	EXPECT_TRUE(same)
		TH_LOG("direct %d file_offset %llu buf_offset %llu len %zu",
		       !!direct, file_offset, buf_offset, len);
	close(out);
}

RW_FILE_TEST(ranges_across_allocations)
{
	size_t size = mixed_len() / page * page, i, j;
	int buf = buf_alloc(size), fd = file_make("data", size + 4 * page, 5);
	__u8 *map = buf_map(buf, size);
	/* Around the borders between allocations of different order. */
	const size_t at[] = { 0, 1, page, MIB - page, MIB, 2 * MIB - page,
			      2 * MIB, 2 * MIB + 65536, size - 4 * page };
	const size_t lens[] = { 1, 511, page - 1, page, page + 1, 2 * page,
				MIB + page, size };

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		for (j = 0; j < ARRAY_SIZE(lens); j++) {
			size_t len = lens[j];

			if (len > size - at[i])
				len = size - at[i];
			check_range(_metadata, buf, map, size, fd, 0, at[i] / 2,
				    at[i], len);
			len = len / page * page;
			if (len)
				check_range(_metadata, buf, map, size, fd,
					    DIRECT, at[i] / 2 / page * page,
					    at[i] / page * page, len);
		}
	}
}

RW_FILE_TEST(random_ranges)
{
	const size_t size = mixed_len() / page * page;
	int buf = buf_alloc(size), fd = file_make("data", 2 * size, 5), i;
	__u8 *map = buf_map(buf, size);

	srand48(20250516);
	for (i = 0; i < 60; i++) {
		__u32 direct = lrand48() & 1 ? DIRECT : 0;
		__u64 off = lrand48() % size, pos = lrand48() % size;
		size_t len = 1 + lrand48() % (size - off);

		if (direct) {
			off = off / page * page;
			pos = pos / page * page;
			len = (len + page - 1) / page * page;
		}
		check_range(_metadata, buf, map, size, fd, direct, pos, off,
			    len);
	}
}

/* Longer than one chunk, with starts and ends around the chunk border. */
RW_FILE_TEST(ranges_across_chunks)
{
	const size_t size = CHUNK + 4 * page;
	int buf = buf_alloc(size), fd = file_make("big", size, 5);
	__u8 *map = buf_map(buf, size);

	check_range(_metadata, buf, map, size, fd, DIRECT, 0, 0, size);
	check_range(_metadata, buf, map, size, fd, DIRECT, page, 2 * page,
		    CHUNK + page);
	check_range(_metadata, buf, map, size, fd, DIRECT, 0, page,
		    CHUNK - page);
	check_range(_metadata, buf, map, size, fd, DIRECT, page, page, CHUNK);
	check_range(_metadata, buf, map, size, fd, 0, 1, 3, CHUNK + page + 1);
	check_range(_metadata, buf, map, size, fd, 0, 7, 0, CHUNK);
}

/* Reads from @pos into the second page of the buffer, past the end of @fd. */
static void check_end(struct __test_metadata *const _metadata, int buf,
		      __u8 *map, size_t size, size_t eof, size_t pos,
		      __u32 direct)
{
	int fd = file_make("eof", eof, 6);
	size_t got = eof > pos ? eof - pos : 0;
	size_t touched = direct ? (got + page - 1) / page * page : got;

	buf_fill(buf, map, size, GUARD);
	EXPECT_EQ(0, rw(buf, READ | direct, fd, pos, page, 12 * page));
	EXPECT_TRUE(has_pattern(map + page, got, pos, 6) &&
		    all_bytes(map, page, GUARD) &&
		    all_bytes(map + page + touched, size - page - touched,
			      GUARD))
		TH_LOG("size %zu offset %zu direct %d", eof, pos, !!direct);
	close(fd);
}

RW_FILE_TEST(end_of_file)
{
	const size_t size = 16 * page, tails[] = { 0, 1, 511, 512, 4095 };
	const size_t starts[] = { 0, 3, 1, 4 };
	int buf = buf_alloc(size), fd;
	__u8 *map = buf_map(buf, size);
	size_t i, j, eof, pos;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		for (j = 0; j < ARRAY_SIZE(starts); j++) {
			eof = tails[i];
			pos = starts[j] * page;
			check_end(_metadata, buf, map, size, eof, pos, 0);
			check_end(_metadata, buf, map, size, eof, pos, DIRECT);
			eof += 3 * page;
			check_end(_metadata, buf, map, size, eof, pos, 0);
			check_end(_metadata, buf, map, size, eof, pos, DIRECT);
		}
	}

	/* A file that ends far before the range starts. */
	fd = file_make("eof", 100, 6);
	buf_fill(buf, map, size, GUARD);
	EXPECT_EQ(0, rw(buf, READ, fd, 1ULL << 40, 0, size));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 1ULL << 40, 0, size));
	EXPECT_TRUE(all_bytes(map, size, GUARD));
}

/* With an O_DIRECT file, the range may start anywhere in a page. */
static void check_o_direct_end(struct __test_metadata *const _metadata, int buf,
			       __u8 *map, size_t size, size_t eof, size_t start,
			       int want)
{
	size_t end = (start + eof + page - 1) / page * page;
	int fd, ret;

	close(file_make("eof", eof, 6));
	fd = file_open("eof", O_RDONLY | O_DIRECT);
	buf_fill(buf, map, size, GUARD);
	ret = rw(buf, READ, fd, 0, start, 5 * page);
	close(fd);

	/* What read() refuses may succeed where all is copied. */
	if (ret) {
		EXPECT_EQ(want, ret)
			TH_LOG("size %zu buf_offset %zu", eof, start);
		return;
	}
	EXPECT_TRUE(has_pattern(map + start, eof, 0, 6) &&
		    all_bytes(map, start, GUARD) &&
		    all_bytes(map + end, size - end, GUARD))
		TH_LOG("size %zu buf_offset %zu", eof, start);
}

/*
 * Direct reads clear the rest of the last block, which may end in the page
 * behind the one that contains the end of the file.
 */
RW_FILE_TEST(o_direct_end_of_file_leaves_later_pages_alone)
{
	const size_t eofs[] = { 100, 4000, 4095, 4096, 5000, 3 * 4096 - 100 };
	const size_t offs[] = { 0, 4, 512, 1024, 4096 - 512 };
	/* One allocation: the filesystem checks the length of each. */
	const size_t size = MIB;
	int buf = buf_alloc(size);
	__u8 *map = buf_map(buf, size);
	size_t i, j;
	void *mem;

	ASSERT_EQ(0, posix_memalign(&mem, page, 8 * page));
	for (i = 0; i < ARRAY_SIZE(eofs); i++) {
		for (j = 0; j < ARRAY_SIZE(offs); j++) {
			int fd, want;

			close(file_make("eof", eofs[i], 6));
			fd = file_open("eof", O_RDONLY | O_DIRECT);
			want = pread(fd, mem + offs[j], 5 * page, 0) < 0 ?
				-errno : 0;
			close(fd);
			check_o_direct_end(_metadata, buf, map, size, eofs[i],
					   page + offs[j], want);
		}
	}
}

/* More than a file system may be asked for at once, most of it past the end. */
RW_FILE_TEST(huge_range_past_end_no_warning)
{
	const __u64 size = 2048 * MIB + 64 * MIB;
	struct sysinfo info;
	int buf, fd;

	sysinfo(&info);
	errno = ENOMEM;
	REQUIRE(sizeof(size_t) == 8 &&
		(__u64)info.freeram * info.mem_unit > size + 256 * MIB);
	buf = buf_alloc_flags(size, O_RDWR);
	REQUIRE(buf >= 0);
	fd = file_make("huge", 5 * page + 1, 7);
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 16 * page, 0, size));
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, size));
}

RW_FILE_TEST(hole_reads_zero)
{
	const size_t size = 8 * page;
	int buf = buf_alloc(size), fd = file_make("hole", 0, 8);
	__u8 *map = buf_map(buf, size);
	__u8 block[512];
	__u32 direct;

	pattern(block, sizeof(block), 6 * page, 8);
	if (pwrite(fd, block, sizeof(block), 6 * page) != sizeof(block) ||
	    ftruncate(fd, 8 * page) || fsync(fd))
		err(KSFT_FAIL, "making a hole");
	for (direct = 0; ; direct = DIRECT) {
		buf_fill(buf, map, size, GUARD);
		EXPECT_EQ(0, rw(buf, READ | direct, fd, 0, 0, size));
		EXPECT_TRUE(all_bytes(map, 6 * page, 0));
		EXPECT_TRUE(has_pattern(map + 6 * page, sizeof(block),
					6 * page, 8));
		EXPECT_TRUE(all_bytes(map + 6 * page + sizeof(block),
				      2 * page - sizeof(block), 0));
		if (direct)
			break;
	}
}

RW_FILE_TEST(page_cache_coherence)
{
	const size_t size = 64 * page;
	int buf = buf_alloc(size), fd = file_make("cache", size, 9);
	__u8 *map = buf_map(buf, size), *block = malloc(size), *view;

	/* Dirty pages are seen by a direct read. */
	pattern(block, size, 0, 10);
	if (pwrite(fd, block, size, 0) != (ssize_t)size)
		err(KSFT_FAIL, "pwrite");
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_TRUE(has_pattern(map, size, 0, 10));

	/* A direct write is seen by cached readers. */
	view = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT_TRUE(has_pattern(view, size, 0, 10));
	buf_sync(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE);
	pattern(map, size, 0, 11);
	buf_sync(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE);
	EXPECT_EQ(0, rw(buf, WRITE | DIRECT, fd, 0, 0, size));
	EXPECT_TRUE(file_has_pattern(fd, 0, size, 0, 11));
	EXPECT_TRUE(has_pattern(view, size, 0, 11));
}

static size_t cached_pages(int fd, size_t len)
{
	unsigned char *vec = calloc(len / page, 1);
	void *view = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	size_t i, n = 0;

	if (view == MAP_FAILED || mincore(view, len, vec))
		err(KSFT_FAIL, "mincore");
	for (i = 0; i < len / page; i++)
		n += vec[i] & 1;
	munmap(view, len);
	free(vec);
	return n;
}

/* That it went direct shows in the page cache only. */
RW_FILE_TEST(direct_leaves_page_cache_alone)
{
	const size_t size = 256 * page;
	int buf = buf_alloc(size), fd = file_make("direct", size, 28);
	struct statx stx;

	errno = EOPNOTSUPP;
	REQUIRE(!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
		stx.stx_mask & STATX_DIOALIGN && stx.stx_dio_offset_align);
	EXPECT_EQ(0, cached_pages(fd, size));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_EQ(0, cached_pages(fd, size));
	EXPECT_EQ(0, rw(buf, WRITE | DIRECT, fd, 0, 0, size));
	EXPECT_EQ(0, cached_pages(fd, size));
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, size));
	EXPECT_EQ(256, cached_pages(fd, size));
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

RW_FILE_TEST(accounting)
{
	const size_t size = 16 * page, eof = 5 * page + 1;
	int buf = buf_alloc(size), fd = file_make("acct", eof, 15);
	unsigned long long r0, r1, cr0, cr1, w0, w1, cw0, cw1;
	size_t n0, n1;

	REQUIRE(read_io(&r0, &cr0, &w0, &cw0, &n0));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_EQ(0, rw(buf, READ, fd, 0, 0, 2 * page));
	EXPECT_EQ(0, rw(buf, WRITE | DIRECT, fd, 0, 0, size));
	REQUIRE(read_io(&r1, &cr1, &w1, &cw1, &n1));
	/* Reading the counters counts as well. */
	EXPECT_EQ(eof + 2 * page, r1 - r0 - n0);
	EXPECT_EQ(3, cr1 - cr0);
	EXPECT_EQ(size, w1 - w0);
	EXPECT_EQ(1, cw1 - cw0);
}

#define TRACING "/sys/kernel/tracing/"

RW_FILE_TEST(trace_events)
{
	const size_t size = 16 * page, eof = 5 * page + 1;
	int buf = buf_alloc(size), fd = file_make("trace", eof, 16);
	char begin[256], end[300], line[1024];
	bool entered = false, left = false;
	struct stat st;
	FILE *trace;

	mount_if_missing("tracefs", "/sys/kernel/tracing", TRACING "events");
	REQUIRE(write_text(TRACING "trace", ""));
	REQUIRE(write_text(TRACING "events/dma_buf/enable", "1"));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, page, 8 * page));
	write_text(TRACING "events/dma_buf/enable", "0");
	fstat(fd, &st);
	snprintf(begin, sizeof(begin),
		 " ino=%lu flags=READ|DIRECT file_offset=0 buf_offset=%zu len=%zu",
		 (unsigned long)st.st_ino, page, 8 * page);
	snprintf(end, sizeof(end), "%s done=%zu ret=0\n", begin, eof);
	strcat(begin, "\n");
	trace = fopen(TRACING "trace", "r");
	REQUIRE(trace);
	while (fgets(line, sizeof(line), trace)) {
		if (strstr(line, "dma_buf_rw_file_enter:") &&
		    strstr(line, begin))
			entered = true;
		if (strstr(line, "dma_buf_rw_file_exit:") &&
		    strstr(line, end))
			left = true;
	}
	EXPECT_TRUE(entered);
	EXPECT_TRUE(left);
	write_text(TRACING "trace", "");
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
