// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps a dma-buf attached: the one on standard input, through the test
 * importer of DMA_BUF_IOCTL_RW_FILE. Says "attached" when it is, and stays
 * until it is killed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RW_FILE_TEST_ATTACH	_IOW(0xdb, 0, int)

int main(void)
{
	int fd = STDIN_FILENO;
	int importer = open("/dev/dma_buf_rw_test", O_RDWR);

	if (importer < 0) {
		perror("open /dev/dma_buf_rw_test");
		return 1;
	}
	if (ioctl(importer, RW_FILE_TEST_ATTACH, &fd)) {
		perror("RW_FILE_TEST_ATTACH");
		return 1;
	}
	puts("attached");
	fflush(stdout);
	for (;;)
		pause();
}
