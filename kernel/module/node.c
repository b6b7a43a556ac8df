// SPDX-License-Identifier: GPL-2.0-only
/*
 * A node in /dev/dma_heap for test kernels that do not export dma_heap_add()
 *
 * It answers DMA_HEAP_IOCTL_ALLOC as drivers/dma-buf/dma-heap.c does. Devices do
 * not build this file: see README.md.
 */
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/dma-heap.h>

#include "compat.h"

/* The core's own definition is private to it. */
struct dma_heap {
	struct miscdevice device;
	const struct dma_heap_ops *ops;
};

static long node_allocate(struct dma_heap *heap,
			  struct dma_heap_allocation_data __user *argument)
{
	struct dma_heap_allocation_data data;
	struct dma_buf *dmabuf;
	size_t len;
	int fd;

	if (copy_from_user(&data, argument, sizeof(data)))
		return -EFAULT;
	if (data.fd || data.fd_flags & ~DMA_HEAP_VALID_FD_FLAGS ||
	    data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS)
		return -EINVAL;
	len = PAGE_ALIGN(data.len);
	if (!len)
		return -EINVAL;

	dmabuf = heap->ops->allocate(heap, len, data.fd_flags, data.heap_flags);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	fd = get_unused_fd_flags(data.fd_flags);
	if (fd < 0) {
		dma_buf_put(dmabuf);
		return fd;
	}
	data.fd = fd;
	if (copy_to_user(argument, &data, sizeof(data))) {
		put_unused_fd(fd);
		dma_buf_put(dmabuf);
		return -EFAULT;
	}
	fd_install(fd, dmabuf->file);

	return 0;
}

static long node_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct miscdevice *device = file->private_data;
	struct dma_heap *heap = container_of(device, struct dma_heap, device);

	if (cmd != DMA_HEAP_IOCTL_ALLOC)
		return -ENOTTY;

	return node_allocate(heap, (void __user *)arg);
}

static const struct file_operations node_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = node_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

struct dma_heap *heap_node_add(const struct dma_heap_export_info *info)
{
	struct dma_heap *heap;
	int ret = -ENOMEM;

	heap = kzalloc(sizeof(*heap), GFP_KERNEL);
	if (!heap)
		return ERR_PTR(-ENOMEM);
	heap->ops = info->ops;
	heap->device.minor = MISC_DYNAMIC_MINOR;
	heap->device.name = info->name;
	heap->device.fops = &node_fops;
	heap->device.nodename = kasprintf(GFP_KERNEL, "dma_heap/%s", info->name);
	if (heap->device.nodename)
		ret = misc_register(&heap->device);
	if (ret) {
		kfree(heap->device.nodename);
		kfree(heap);
		return ERR_PTR(ret);
	}

	return heap;
}
