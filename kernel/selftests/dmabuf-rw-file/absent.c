// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel without CONFIG_DMABUF_RW_FILE does not know DMA_BUF_IOCTL_RW_FILE.
 * On a kernel with the option this test fails, so that it is not among those
 * that run by themselves.
 */
#include "common.h"

TEST(kernel_without_option_enotty)
{
	page = sysconf(_SC_PAGESIZE);
	EXPECT_EQ(-ENOTTY, rw(buf_alloc(page), READ | DIRECT, -1, 0, 0, page));
}

TEST_HARNESS_MAIN
