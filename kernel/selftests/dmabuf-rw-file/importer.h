/* SPDX-License-Identifier: GPL-2.0 */
/* The test importer, drivers/dma-buf/dma-buf-rw-file-test.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define TEST_DEVICE	"/dev/dma_buf_rw_test"
#define TEST_ATTACH	_IOW(0xdb, 0, __s32)
#define TEST_DETACH	_IO(0xdb, 1)
#define TEST_VMAP	_IOW(0xdb, 2, __s32)
#define TEST_VUNMAP	_IO(0xdb, 3)
#define TEST_MAP	_IOW(0xdb, 4, __s32)
#define TEST_DEV_READ	_IOW(0xdb, 5, struct test_access)
#define TEST_DEV_WRITE	_IOW(0xdb, 6, struct test_access)
#define TEST_VMAP_READ	_IOW(0xdb, 7, struct test_access)

/*
 * A length for buffers to map. The heap's largest allocations, of 1 MiB, are more
 * than swiotlb can map, and shorter buffers have none.
 */
#define MAPPABLE	(960 * 1024ULL)

struct test_access {
	__u64 offset, len, data;
};

static inline int test_device(void)
{
	return open(TEST_DEVICE, O_RDWR | O_CLOEXEC);
}

static inline int dev_access(int dev, unsigned long cmd, __u64 offset,
			     void *data, size_t len)
{
	struct test_access access = {
		.offset = offset,
		.len = len,
		.data = (uintptr_t)data,
	};

	return ioctl(dev, cmd, &access) ? -errno : 0;
}

static inline int dev_call(int dev, unsigned long cmd, int buf)
{
	__s32 fd = buf;

	return ioctl(dev, cmd, &fd) ? -errno : 0;
}
