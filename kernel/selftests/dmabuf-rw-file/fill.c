// SPDX-License-Identifier: GPL-2.0
/*
 * DMA_HEAP_FLAG_FILL: whoever looks at a buffer sees what was read from a file,
 * and zeros.
 */
#include "fill.h"
#include "scsi_debug.h"

/* What a buffer may hold. Where @loose is set, also what @was says, or 0. */
struct model {
	size_t size;
	__u8 want[MAX_SIZE], was[MAX_SIZE];
	bool loose[MAX_SIZE];
};

static bool as_expected(const struct model *m, const __u8 *got)
{
	size_t i;

	for (i = 0; i < m->size; i++) {
		if (got[i] == m->want[i])
			continue;
		if (m->loose[i] && (!got[i] || got[i] == m->was[i]))
			continue;
		ksft_print_msg("byte %zu of %zu is %#x, want %#x%s\n", i,
			       m->size, got[i], m->want[i],
			       got[i] == STALE ? ": STALE" : "");
		return false;
	}
	return true;
}

RW_FILE_TEST(other_flags_refused)
{
	int buf = heap_alloc(page, O_RDWR, DMA_HEAP_FLAG_FILL), bit;

	EXPECT_TRUE(buf >= 0);
	for (bit = 0; bit < 63; bit++) {
		EXPECT_EQ(-1, heap_alloc(page, O_RDWR, 1ULL << bit));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, heap_alloc(page, O_RDWR, 1ULL << bit |
					 DMA_HEAP_FLAG_FILL));
		EXPECT_EQ(EINVAL, errno);
	}
}

RW_FILE_TEST(unfilled_is_zero)
{
	static __u8 got[MAX_SIZE];
	static const size_t sizes[] = { 1, 15, 16, 17, 240, 256, 768 };
	int dev = test_device();
	size_t i, size;
	enum look how;

	REQUIRE(dev >= 0);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size = sizes[i] * page;
		for (how = 0; how < LOOKS; how++) {
			int buf = fill_alloc(size);

			if (how == BY_DEVICE && size > MAPPABLE)
				continue;
			EXPECT_TRUE(look_at(buf, how, dev, got, size));
			EXPECT_TRUE(all_bytes(got, size, 0));
			free_stale(buf, size);
		}
	}
}

/* A file, and what is in it. */
struct source {
	int fd;
	size_t len;
	__u8 *data;
};

static struct source source_make(const char *name, size_t len, __u64 seed)
{
	struct source s = {
		.fd = file_make(name, len, seed),
		.len = len,
		.data = malloc(len),
	};

	pattern(s.data, len, 0, seed);
	return s;
}

/* What a successful read of an extent makes of the buffer. */
static void model_read(struct model *m, const struct source *s, __u32 flags,
		       struct dma_buf_rw_extent *e)
{
	size_t n = e->file_offset < s->len ? s->len - e->file_offset : 0, i;

	if (n > e->len)
		n = e->len;
	for (i = 0; i < n; i++) {
		m->want[e->buf_offset + i] = s->data[e->file_offset + i];
		m->loose[e->buf_offset + i] = false;
	}
	/* What follows the end of the file in its page is not defined. */
	for (; flags & DIRECT && n && i < e->len && i % page; i++) {
		m->was[e->buf_offset + i] = m->want[e->buf_offset + i];
		m->loose[e->buf_offset + i] = true;
	}
}

/* Up to @max ranges that do not overlap, with holes between them. */
static int random_extents(struct dma_buf_rw_extent *e, int max, __u32 flags,
			  const struct source *s, size_t size)
{
	size_t unit = flags & DIRECT ? page : 1, at = 0, left;
	int n = 0;

	while (n < max) {
		if (rand() % 2)
			at += rand() % (2 * page);
		at = (at + unit - 1) / unit * unit;
		if (at >= size)
			break;
		left = (size - at) / unit;
		e[n].buf_offset = at;
		e[n].len = (rand() % left + 1) * unit;
		if (max > 1 && e[n].len > 3 * page)
			e[n].len = 3 * page;
		e[n].file_offset = rand() % (s->len + 2 * page) / unit * unit;
		at += e[n].len;
		n++;
	}
	return n;
}

/* Holes, ends of files, ranges that end within a page, many at a time. */
RW_FILE_TEST(random_fills)
{
	struct source sources[] = {
		source_make("long", 300 * page + 123, 51),
		source_make("short", 5 * page + 100, 52),
		source_make("tiny", 77, 53),
	};
	struct model *m = malloc(sizeof(*m));
	static __u8 got[MAX_SIZE];
	int dev = test_device(), round, fills;

	REQUIRE(dev >= 0);
	for (round = 0; round < 2000; round++) {
		enum look how = rand() % LOOKS;
		size_t size = (rand() % 40 + 1) * page;
		int buf;

		if (!(round % 32))
			size = (rand() % (MAX_SIZE / page) + 1) * page;
		if (how == BY_DEVICE && size > MAPPABLE)
			how = MAPPED;
		buf = fill_alloc(size);
		memset(m, 0, sizeof(*m));
		m->size = size;
		for (fills = rand() % 4; fills; fills--) {
			struct source *s = &sources[rand() % 3];
			__u32 flags = READ | (rand() % 2 ? DIRECT : 0);
			struct dma_buf_rw_extent e[8];
			int max = rand() % 2 ? 1 : 8;
			int n = random_extents(e, max, flags, s, size), i;

			if (!n)
				continue;
			if (max == 1) {
				EXPECT_EQ(0, rw(buf, flags, s->fd,
						e->file_offset, e->buf_offset,
						e->len));
			} else {
				EXPECT_EQ(0, rw_extents(buf, flags, s->fd, e,
							n));
			}
			for (i = 0; i < n; i++)
				model_read(m, s, flags, &e[i]);
			if (!(rand() % 8)) {
				/* It may go on after somebody looked. */
				EXPECT_TRUE(look_at(buf, rand() % 3, dev, got,
						    size));
			}
		}
		EXPECT_TRUE(look_at(buf, how, dev, got, size));
		ASSERT_TRUE(as_expected(m, got));
		free_stale(buf, size);
	}
}

/* What the disk could not read is zero, also where it had begun. */
RW_FILE_TEST(medium_error_leaves_zeros)
{
	const size_t size = 3 * MIB, bad = 0x1234 * 512 / page * page;
	static __u8 got[MAX_SIZE];
	struct dma_buf_rw_extent e[3];
	int dev, how, i;

	REQUIRE(write_text(SCSI_DEBUG "add_host", "1"));
	dev = scsi_debug_open(20000);
	if (dev < 0) {
		write_text(SCSI_DEBUG "add_host", "-1");
		REQUIRE(dev >= 0);
	}
	for (i = 0; i < 4; i++) {
		pattern(got, MIB, i * MIB, 59);
		EXPECT_EQ((ssize_t)MIB, pwrite(dev, got, MIB, i * MIB));
	}
	fsync(dev);
	posix_fadvise(dev, 0, 0, POSIX_FADV_DONTNEED);
	write_text(SCSI_DEBUG "opts", "2");
	for (how = 0; how < 30; how++) {
		int buf = fill_alloc(size), ret;

		if (how % 3 == 2) {
			for (i = 0; i < 3; i++)
				e[i] = (struct dma_buf_rw_extent) {
					i * MIB, i * MIB, MIB };
			ret = rw_extents(buf, READ | DIRECT, dev, e, 3);
		} else {
			ret = rw(buf, READ | (how % 3 ? DIRECT : 0), dev, 0, 0,
				 size);
		}
		EXPECT_TRUE(ret < 0);
		EXPECT_TRUE(look_at(buf, how / 3 % 3, -1, got, size));
		EXPECT_TRUE(file_or_zeros(got, size, 59));
		EXPECT_TRUE(all_bytes(got + bad, page, 0));
		free_stale(buf, size);
		posix_fadvise(dev, 0, 0, POSIX_FADV_DONTNEED);
	}
	write_text(SCSI_DEBUG "opts", "0");
	close(dev);
	write_text(SCSI_DEBUG "add_host", "-1");
}

/* Who gets the buffer before it is filled sees zeros, and later the file. */
RW_FILE_TEST(other_process_sees_zeros_first)
{
	const size_t size = 17 * page;
	int buf = fill_alloc(size), fd = file_make("other", size, 60);
	int first[2], second[2], status;
	char byte = 0;
	pid_t pid;

	EXPECT_EQ(0, pipe(first));
	EXPECT_EQ(0, pipe(second));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		__u8 *map = buf_map(buf, size);

		if (!all_bytes(map, size, 0))
			_exit(1);
		if (write(first[1], &byte, 1) != 1 ||
		    read(second[0], &byte, 1) != 1)
			_exit(2);
		_exit(has_pattern(map, size, 0, 60) ? 0 : 3);
	}
	EXPECT_EQ(1, read(first[0], &byte, 1));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_EQ(1, write(second[1], &byte, 1));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

int main(int argc, char **argv)
{
	return fill_main(argc, argv);
}
