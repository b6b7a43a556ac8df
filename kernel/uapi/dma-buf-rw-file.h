/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * DMA_BUF_IOCTL_RW_FILE, for builds whose <linux/dma-buf.h> does not have it.
 * The definitions are those that the patch adds to include/uapi/linux/dma-buf.h.
 */
#ifndef _DMA_BUF_RW_FILE_UAPI_H_
#define _DMA_BUF_RW_FILE_UAPI_H_

#include <linux/dma-buf.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#ifndef DMA_BUF_IOCTL_RW_FILE

/**
 * struct dma_buf_rw_file - Transfer between a dma-buf and a file
 *
 * Userspace can perform a DMA_BUF_IOCTL_RW_FILE to fill a range of a dma-buf
 * from a regular file or block device, or to save a range of it there. The
 * file position of the descriptor is neither used nor changed.
 *
 * The intended usage pattern is the following:
 *
 *  1. Find out whether the exporter takes part: with otherwise valid
 *     arguments and @fd set to -1 the ioctl fails with EBADF if it does, with
 *     ENOTTY if the kernel does not know the ioctl, and with EINVAL if this
 *     exporter does not implement it.
 *
 *  2. Perform transfers before the buffer is imported anywhere. While the
 *     buffer is attached to a device or mapped into the kernel the ioctl fails
 *     with EBUSY.
 *
 *  3. Hand the buffer to its importers.
 *
 * The ioctl returns 0 on success and never a byte count. Success of
 * DMA_BUF_RW_FLAGS_READ means that everything up to the end of the range or
 * the end of the file, whichever comes first, is in the buffer. Success of
 * DMA_BUF_RW_FLAGS_WRITE means that the file system has accepted the whole
 * range; it does not mean that the data is durable. After an error the
 * contents of the destination range are undefined.
 */
struct dma_buf_rw_file {
	/**
	 * @flags: Operation and options
	 *
	 * Either DMA_BUF_RW_FLAGS_READ or DMA_BUF_RW_FLAGS_WRITE, optionally
	 * combined with DMA_BUF_RW_FLAGS_DIRECT. All other bits must be zero.
	 *
	 * DMA_BUF_RW_FLAGS_READ copies from the file to the buffer. It needs a
	 * dma-buf descriptor that is open for writing.
	 *
	 * DMA_BUF_RW_FLAGS_WRITE copies from the buffer to the file. It needs a
	 * dma-buf descriptor that is open for reading, and a file that is not
	 * open for appending.
	 *
	 * DMA_BUF_RW_FLAGS_DIRECT asks for direct I/O, as O_DIRECT does, which
	 * is honoured without the flag if the file was opened so. The file
	 * must be able to do it, but may still choose not to. @file_offset,
	 * @buf_offset and @buf_len must be multiples of the page size.
	 */
	__u32 flags;
	/** @fd: File to read from or write to */
	__s32 fd;
	/** @file_offset: Where the range starts in the file, in bytes */
	__u64 file_offset;
	/** @buf_offset: Where the range starts in the dma-buf, in bytes */
	__u64 buf_offset;
	/**
	 * @buf_len: Length of the range, in bytes
	 *
	 * Must not be zero, and the range must lie within the dma-buf. When
	 * reading, the range may go past the end of the file. What follows the
	 * end of the file in the buffer page that contains it is undefined
	 * with direct I/O; the rest of the range is left alone.
	 */
	__u64 buf_len;
};

#define DMA_BUF_RW_FLAGS_OP_MASK	(0xff << 0)
#define DMA_BUF_RW_FLAGS_READ		(1 << 0)
#define DMA_BUF_RW_FLAGS_WRITE		(2 << 0)
#define DMA_BUF_RW_FLAGS_DIRECT		(1u << 31)

#define DMA_BUF_IOCTL_RW_FILE	_IOW(DMA_BUF_BASE, 4, struct dma_buf_rw_file)

#endif /* DMA_BUF_IOCTL_RW_FILE */

#endif /* _DMA_BUF_RW_FILE_UAPI_H_ */
