// SPDX-License-Identifier: GPL-2.0
/*
 * DMA_BUF_RW_FLAGS_ATTACHED: transfers of a buffer that devices have mapped.
 * With swiotlb=force the device of the test importer has memory of its own, so
 * these tests fail if a synchronization is missing. Without, they only see
 * that the transfers work.
 */
#include "common.h"
#include "importer.h"

#define PART	(MAPPABLE / 3)

RW_FILE_TEST(device_sees_what_was_read)
{
	const size_t size = MAPPABLE;
	int buf = buf_alloc(size), dev = test_device();
	int fd = file_make("attached", size, 31);
	__u8 *map = buf_map(buf, size), *seen = malloc(size);
	__u32 direct;

	REQUIRE(dev >= 0);
	EXPECT_EQ(0, dev_call(dev, TEST_MAP, buf));
	EXPECT_EQ(-EBUSY, rw(buf, READ | DIRECT, fd, 0, 0, size));

	for (direct = 0; ; direct = DIRECT) {
		buf_fill(buf, map, size, GUARD);
		/* The file in the middle, what was there on both sides. */
		EXPECT_EQ(0, rw(buf, READ | direct | ATTACHED, fd, 0, PART,
				PART));
		EXPECT_EQ(0, dev_access(dev, TEST_DEV_READ, 0, seen, size));
		EXPECT_TRUE(all_bytes(seen, PART, GUARD));
		EXPECT_TRUE(has_pattern(seen + PART, PART, 0, 31));
		EXPECT_TRUE(all_bytes(seen + 2 * PART, PART, GUARD));
		EXPECT_TRUE(has_pattern(map + PART, PART, 0, 31));
		if (direct)
			break;
	}
	EXPECT_EQ(0, dev_call(dev, TEST_DETACH, 0));
	EXPECT_EQ(0, rw(buf, READ | DIRECT, fd, 0, 0, size));
	EXPECT_TRUE(has_pattern(map, size, 0, 31));
}

/* What a device wrote next to the range stays. */
RW_FILE_TEST(device_writes_survive_a_read_beside_them)
{
	int buf = buf_alloc(2 * PART), dev = test_device();
	int fd = file_make("attached", PART, 32);
	__u8 *map = buf_map(buf, 2 * PART), *data = malloc(2 * PART);

	REQUIRE(dev >= 0);
	EXPECT_EQ(0, dev_call(dev, TEST_MAP, buf));
	pattern(data, PART, 0, 33);
	EXPECT_EQ(0, dev_access(dev, TEST_DEV_WRITE, PART, data, PART));
	EXPECT_EQ(0, rw(buf, READ | DIRECT | ATTACHED, fd, 0, 0, PART));
	EXPECT_EQ(0, dev_access(dev, TEST_DEV_READ, 0, data, 2 * PART));
	EXPECT_TRUE(has_pattern(data, PART, 0, 32));
	EXPECT_TRUE(has_pattern(data + PART, PART, 0, 33));
	EXPECT_TRUE(has_pattern(map + PART, PART, 0, 33));
}

RW_FILE_TEST(file_has_what_the_device_wrote)
{
	const size_t size = MAPPABLE;
	int buf = buf_alloc(size), dev = test_device();
	int fd = file_make("attached", size, 34);
	__u8 *data = malloc(size);
	__u32 direct, seed = 35;

	REQUIRE(dev >= 0);
	EXPECT_EQ(0, dev_call(dev, TEST_MAP, buf));
	for (direct = 0; ; direct = DIRECT, seed++) {
		pattern(data, size, 0, seed);
		EXPECT_EQ(0, dev_access(dev, TEST_DEV_WRITE, 0, data, size));
		EXPECT_EQ(0, rw(buf, WRITE | direct | ATTACHED, fd, 0, 0,
				size));
		EXPECT_TRUE(file_has_pattern(fd, 0, size, 0, seed));
		if (direct)
			break;
	}
}

RW_FILE_TEST(kernel_mapping_is_not_in_the_way)
{
	int buf = buf_alloc(MIB), dev = test_device();
	int fd = file_make("attached", MIB, 37);
	__u8 *map = buf_map(buf, MIB);

	REQUIRE(dev >= 0);
	EXPECT_EQ(0, dev_call(dev, TEST_VMAP, buf));
	EXPECT_EQ(-EBUSY, rw(buf, READ | DIRECT, fd, 0, 0, MIB));
	EXPECT_EQ(0, rw(buf, READ | DIRECT | ATTACHED, fd, 0, 0, MIB));
	EXPECT_TRUE(has_pattern(map, MIB, 0, 37));
}

/* As a camera does: the buffers are attached once, and used all the time. */
RW_FILE_TEST(thousand_transfers_while_attached)
{
	const size_t size = MAPPABLE;
	int buf = buf_alloc(size), dev = test_device(), i;
	int in = file_make("in", 8 * size, 38), out = file_make("out", size, 39);
	__u8 *data = malloc(size);

	REQUIRE(dev >= 0);
	EXPECT_EQ(0, dev_call(dev, TEST_MAP, buf));
	for (i = 0; i < 1000; i++) {
		struct dma_buf_rw_extent extents[] = {
			{ i % 8 * size, 0, size / 2 },
			{ i % 8 * size + size / 2, size / 2, size / 2 },
		};

		if (i % 2) {
			EXPECT_EQ(0, rw_extents(buf, READ | DIRECT | ATTACHED,
						in, extents, 2));
		} else {
			EXPECT_EQ(0, rw(buf, READ | DIRECT | ATTACHED, in,
					i % 8 * size, 0, size));
		}
		EXPECT_EQ(0, rw(buf, WRITE | DIRECT | ATTACHED, out, 0, 0,
				size));
		if (i % 50)
			continue;
		EXPECT_EQ(0, dev_access(dev, TEST_DEV_READ, 0, data, size));
		EXPECT_TRUE(has_pattern(data, size, i % 8 * size, 38));
		EXPECT_TRUE(file_has_pattern(out, 0, size, i % 8 * size, 38));
	}
}

int main(int argc, char **argv)
{
	return rw_file_main(argc, argv);
}
