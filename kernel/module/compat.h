/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that the heap is for, 5.15 and later. All
 * differences are here; heap.c is written for the newest kernel.
 */
#ifndef DMABUFIO_HEAP_COMPAT_H
#define DMABUFIO_HEAP_COMPAT_H

#include <linux/dma-heap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>

/* A namespace is a string since 6.13. Heaps have one of their own since 6.19. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
MODULE_IMPORT_NS("DMA_BUF_HEAP");
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif

/* The flags of dma_heap_ops.allocate() have fixed sizes since 6.11. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
typedef u32 heap_fd_flags_t;
typedef u64 heap_flags_t;
#else
typedef unsigned long heap_fd_flags_t;
typedef unsigned long heap_flags_t;
#endif

/* struct iosys_map had another name before 5.18. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#include <linux/iosys-map.h>
#else
#include <linux/dma-buf-map.h>
#define iosys_map		dma_buf_map
#define iosys_map_set_vaddr	dma_buf_map_set_vaddr
#define iosys_map_clear		dma_buf_map_clear
#endif

/*
 * The flags of a mapping are not assigned since 6.3, nor in Android's 6.1, which
 * has the locks of single mappings from there.
 */
static inline void heap_set_vm_flags(struct vm_area_struct *vma,
				     unsigned long flags)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0) || defined(CONFIG_PER_VMA_LOCK)
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

/* struct folio came with 5.16, and takes the index from struct page in 6.16. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define heap_head(page)		page_folio(page)
#else
#define heap_head(page)		(page)
#endif

#ifdef DMABUFIO_HEAP_NODE
struct dma_heap *heap_node_add(const struct dma_heap_export_info *info);
#define dma_heap_add		heap_node_add
#endif

#endif
