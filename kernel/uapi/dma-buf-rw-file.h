/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * DMA_BUF_IOCTL_RW_FILE, DMA_BUF_IOCTL_RW_EXTENTS and DMA_HEAP_FLAG_FILL, for
 * builds whose <linux/dma-buf.h> and <linux/dma-heap.h> do not have them. The
 * definitions are those that the patches add to these headers.
 */
#ifndef _DMA_BUF_RW_FILE_UAPI_H_
#define _DMA_BUF_RW_FILE_UAPI_H_

#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
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
 *     with EBUSY, unless DMA_BUF_RW_FLAGS_ATTACHED is set.
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
	 *
	 * DMA_BUF_RW_FLAGS_ATTACHED allows the transfer while the buffer is
	 * attached to devices or mapped into the kernel. The caches of the
	 * devices are maintained as for CPU access, from one
	 * DMA_BUF_IOCTL_SYNC to the other: userspace must keep the devices
	 * from using the range meanwhile. A kernel that does not know the flag
	 * fails with EINVAL.
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

#ifndef DMA_BUF_IOCTL_RW_EXTENTS

#define DMA_BUF_RW_FLAGS_ATTACHED	(1u << 30)

/**
 * struct dma_buf_rw_extent - One of the ranges of DMA_BUF_IOCTL_RW_EXTENTS
 */
struct dma_buf_rw_extent {
	/** @file_offset: Where the range starts in the file, in bytes */
	__u64 file_offset;
	/** @buf_offset: Where the range starts in the dma-buf, in bytes */
	__u64 buf_offset;
	/** @len: Length of the range, in bytes; not zero */
	__u64 len;
	/**
	 * @done: Returned by the kernel: the number of bytes transferred, from
	 * the start of the range. After success it is less than @len only if a
	 * read met the end of the file. Bytes after these are undefined if the
	 * ioctl failed. An ioctl that is refused before it starts leaves this
	 * alone.
	 */
	__u64 done;
};

/**
 * struct dma_buf_rw_extents - Transfer between ranges of a dma-buf and a file
 *
 * DMA_BUF_IOCTL_RW_EXTENTS does what DMA_BUF_IOCTL_RW_FILE does, for many
 * ranges at once, and tells how many bytes it transferred. The ranges may have
 * any order. If they overlap, the result is undefined.
 *
 * With DMA_BUF_RW_FLAGS_DIRECT and more than one range, several requests are in
 * flight at a time.
 */
struct dma_buf_rw_extents {
	/** @flags: As in &struct dma_buf_rw_file */
	__u32 flags;
	/** @fd: File to read from or write to */
	__s32 fd;
	/** @count: Number of ranges, from 1 to DMA_BUF_RW_EXTENTS_MAX */
	__u32 count;
	/** @reserved: Must be zero */
	__u32 reserved;
	/** @extents: Pointer to the array of &struct dma_buf_rw_extent */
	__u64 extents;
};

#define DMA_BUF_RW_EXTENTS_MAX		4096

#define DMA_BUF_IOCTL_RW_EXTENTS	_IOW(DMA_BUF_BASE, 5, struct dma_buf_rw_extents)

#endif /* DMA_BUF_IOCTL_RW_EXTENTS */

#ifndef DMA_HEAP_FLAG_FILL

/*
 * DMA_HEAP_FLAG_FILL: the buffer is to be filled by DMA_BUF_IOCTL_RW_FILE.
 *
 * The heap need not clear the memory when it allocates it. The buffer is the
 * same to its users: all of it reads as zero until something is written to it.
 * What file I/O has not filled is cleared when the buffer is first mapped,
 * attached to a device or saved to a file, which takes the time then.
 *
 * A heap that does not implement it fails with EINVAL, as all heaps do on
 * kernels that do not know the flag.
 */
#define DMA_HEAP_FLAG_FILL	(1ULL << 63)

#endif /* DMA_HEAP_FLAG_FILL */

#endif /* _DMA_BUF_RW_FILE_UAPI_H_ */
