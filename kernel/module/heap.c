// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DMA-BUF heap of cached system memory whose mappings direct I/O can pin
 *
 * The system heap maps its buffers with remap_pfn_range(), so the kernel knows
 * no pages behind such a mapping, and O_DIRECT and io_uring refuse it. This heap
 * allocates the same memory and leaves its mappings to faults that return the
 * pages: read() and write() with O_DIRECT then move data between the disk and
 * the buffer without the page cache and without a copy.
 *
 * A page belongs to whoever holds a reference: the buffer, a mapping, or I/O
 * that pins it. The buffer only ever drops its own, so a page that outlives the
 * buffer under I/O returns to the page allocator with its last user. There is
 * no pool of pages here, which would have to know about such users.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "compat.h"

static char *name = "system-direct";
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "name of the heap and of its node in /dev/dma_heap");

/*
 * Sizes of the chunks that a buffer is made of, largest first. One of 2 MiB is
 * one entry in the page tables and one step for who pins it; the others are
 * those of the system heap.
 */
static const unsigned long chunk_sizes[] = { SZ_2M, SZ_1M, SZ_64K, PAGE_SIZE };

/* A chunk larger than a page is worth having only where it costs nothing. */
#define SMALL_GFP	(GFP_HIGHUSER | __GFP_ZERO)
#define LARGE_GFP	((SMALL_GFP & ~__GFP_RECLAIM) | __GFP_COMP | \
			 __GFP_NOWARN | __GFP_NORETRY)

/**
 * struct heap_buffer - the memory of one dma-buf
 * @len: size in bytes
 * @chunks: first page of each chunk. Chunks get no larger from one to the next,
 *	so each lies at a multiple of its size. The index of the page is the
 *	chunk's offset in the buffer, in pages
 * @nr_chunks: number of @chunks
 * @nr_huge_pages: pages of the buffer, from its start, that a PMD can map
 * @lock: protects what follows
 * @attachments: list of struct heap_attachment
 * @vaddr: kernel mapping of the whole buffer
 * @vmap_count: users of @vaddr
 */
struct heap_buffer {
	unsigned long len;
	struct page **chunks;
	unsigned long nr_chunks;
	unsigned long nr_huge_pages;
	struct mutex lock;
	struct list_head attachments;
	void *vaddr;
	unsigned int vmap_count;
};

struct heap_attachment {
	struct device *dev;
	struct sg_table table;
	struct list_head node;
	bool mapped;
};

static unsigned long chunk_index(const struct heap_buffer *buffer,
				 unsigned long i)
{
	return heap_head(buffer->chunks[i])->index;
}

/* The page at an offset, in pages, that lies in the buffer. */
static struct page *heap_page(const struct heap_buffer *buffer, pgoff_t offset)
{
	unsigned long first = 0, end = buffer->nr_chunks;

	while (end - first > 1) {
		unsigned long middle = first + (end - first) / 2;

		if (chunk_index(buffer, middle) <= offset)
			first = middle;
		else
			end = middle;
	}

	return buffer->chunks[first] + (offset - chunk_index(buffer, first));
}

static int heap_attach(struct dma_buf *dmabuf,
		       struct dma_buf_attachment *attachment)
{
	struct heap_buffer *buffer = dmabuf->priv;
	struct heap_attachment *a;
	struct scatterlist *sg;
	unsigned int i;
	int ret;

	a = kzalloc(sizeof(*a), GFP_KERNEL);
	if (!a)
		return -ENOMEM;

	/* Mapping a table changes it, so each device has its own. */
	ret = sg_alloc_table(&a->table, buffer->nr_chunks, GFP_KERNEL);
	if (ret) {
		kfree(a);
		return ret;
	}
	for_each_sgtable_sg(&a->table, sg, i)
		sg_set_page(sg, buffer->chunks[i], page_size(buffer->chunks[i]),
			    0);

	a->dev = attachment->dev;
	attachment->priv = a;

	mutex_lock(&buffer->lock);
	list_add(&a->node, &buffer->attachments);
	mutex_unlock(&buffer->lock);

	return 0;
}

static void heap_detach(struct dma_buf *dmabuf,
			struct dma_buf_attachment *attachment)
{
	struct heap_buffer *buffer = dmabuf->priv;
	struct heap_attachment *a = attachment->priv;

	mutex_lock(&buffer->lock);
	list_del(&a->node);
	mutex_unlock(&buffer->lock);

	sg_free_table(&a->table);
	kfree(a);
}

static struct sg_table *heap_map_dma_buf(struct dma_buf_attachment *attachment,
					 enum dma_data_direction direction)
{
	struct heap_buffer *buffer = attachment->dmabuf->priv;
	struct heap_attachment *a = attachment->priv;
	int ret;

	ret = dma_map_sgtable(a->dev, &a->table, direction, 0);
	if (ret)
		return ERR_PTR(ret);

	mutex_lock(&buffer->lock);
	a->mapped = true;
	mutex_unlock(&buffer->lock);

	return &a->table;
}

static void heap_unmap_dma_buf(struct dma_buf_attachment *attachment,
			       struct sg_table *table,
			       enum dma_data_direction direction)
{
	struct heap_buffer *buffer = attachment->dmabuf->priv;
	struct heap_attachment *a = attachment->priv;

	/* Whoever syncs the table for the CPU must be done with it. */
	mutex_lock(&buffer->lock);
	a->mapped = false;
	mutex_unlock(&buffer->lock);

	dma_unmap_sgtable(a->dev, table, direction, 0);
}

static int heap_begin_cpu_access(struct dma_buf *dmabuf,
				 enum dma_data_direction direction)
{
	struct heap_buffer *buffer = dmabuf->priv;
	struct heap_attachment *a;

	mutex_lock(&buffer->lock);
	if (buffer->vmap_count)
		invalidate_kernel_vmap_range(buffer->vaddr, buffer->len);
	list_for_each_entry(a, &buffer->attachments, node)
		if (a->mapped)
			dma_sync_sgtable_for_cpu(a->dev, &a->table, direction);
	mutex_unlock(&buffer->lock);

	return 0;
}

static int heap_end_cpu_access(struct dma_buf *dmabuf,
			       enum dma_data_direction direction)
{
	struct heap_buffer *buffer = dmabuf->priv;
	struct heap_attachment *a;

	mutex_lock(&buffer->lock);
	if (buffer->vmap_count)
		flush_kernel_vmap_range(buffer->vaddr, buffer->len);
	list_for_each_entry(a, &buffer->attachments, node)
		if (a->mapped)
			dma_sync_sgtable_for_device(a->dev, &a->table,
						    direction);
	mutex_unlock(&buffer->lock);

	return 0;
}

/*
 * Maps the pages around the one that is missing, as far as one table of page
 * table entries reaches. One fault for each page would cost more than the I/O.
 */
static vm_fault_t heap_fault_around(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct heap_buffer *buffer = vma->vm_private_data;
	unsigned long table = vmf->address & PMD_MASK;
	unsigned long start = max(vma->vm_start, table);
	unsigned long end = min(vma->vm_end, table + PMD_SIZE);
	pgoff_t offset = vma->vm_pgoff + ((start - vma->vm_start) >> PAGE_SHIFT);
	unsigned long addr;
	int ret;

	/* The page that is wanted first: only its absence is a failure. */
	ret = vm_insert_page(vma, vmf->address & PAGE_MASK,
			     heap_page(buffer, vmf->pgoff));
	if (ret && ret != -EBUSY)
		return vmf_error(ret);

	for (addr = start; addr < end; addr += PAGE_SIZE, offset++) {
		ret = vm_insert_page(vma, addr, heap_page(buffer, offset));
		if (ret && ret != -EBUSY)
			break;
	}

	return VM_FAULT_NOPAGE;
}

static vm_fault_t heap_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct heap_buffer *buffer = vma->vm_private_data;

	if (vmf->pgoff >= buffer->len >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;

	if (vma->vm_flags & VM_MIXEDMAP)
		return heap_fault_around(vmf);

	/* The core maps the page, or all of its chunk by a PMD where that fits. */
	vmf->page = heap_page(buffer, vmf->pgoff);
	get_page(vmf->page);

	return 0;
}

static const struct vm_operations_struct heap_vm_ops = {
	.fault = heap_fault,
};

/* Whether PMDs can map at least half of the pages of a mapping. */
static bool heap_maps_huge(const struct heap_buffer *buffer,
			   struct vm_area_struct *vma)
{
	unsigned long per_pmd = PMD_SIZE >> PAGE_SHIFT;
	unsigned long start = ALIGN(vma->vm_pgoff, per_pmd);
	unsigned long end = vma->vm_pgoff + vma_pages(vma);

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    ((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff) % per_pmd)
		return false;

	end = ALIGN_DOWN(min(end, buffer->nr_huge_pages), per_pmd);

	return end > start && end - start >= vma_pages(vma) / 2;
}

static int heap_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct heap_buffer *buffer = dmabuf->priv;

	/* A private copy would be neither the buffer nor seen by devices. */
	if (!(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
		return -EINVAL;

	heap_set_vm_flags(vma, VM_DONTEXPAND | VM_DONTDUMP);
	/*
	 * The core drops the references of a PMD only in a mapping without
	 * VM_MIXEDMAP (see vma_is_special_huge()), and without it only the core
	 * may insert pages, one for each fault. So a mapping is of one kind.
	 */
	if (!heap_maps_huge(buffer, vma))
		heap_set_vm_flags(vma, VM_MIXEDMAP);
	vma->vm_private_data = buffer;
	vma->vm_ops = &heap_vm_ops;

	return 0;
}

static void *heap_do_vmap(const struct heap_buffer *buffer)
{
	unsigned long nr_pages = buffer->len >> PAGE_SHIFT;
	struct page **pages;
	unsigned long i;
	void *vaddr;

	pages = kvmalloc_array(nr_pages, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (i = 0; i < nr_pages; i++)
		pages[i] = heap_page(buffer, i);
	vaddr = vmap(pages, nr_pages, VM_MAP, PAGE_KERNEL);
	kvfree(pages);

	return vaddr;
}

static int heap_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct heap_buffer *buffer = dmabuf->priv;
	int ret = 0;

	mutex_lock(&buffer->lock);
	if (!buffer->vmap_count)
		buffer->vaddr = heap_do_vmap(buffer);
	if (buffer->vaddr) {
		buffer->vmap_count++;
		iosys_map_set_vaddr(map, buffer->vaddr);
	} else {
		ret = -ENOMEM;
	}
	mutex_unlock(&buffer->lock);

	return ret;
}

static void heap_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct heap_buffer *buffer = dmabuf->priv;

	mutex_lock(&buffer->lock);
	if (!--buffer->vmap_count) {
		vunmap(buffer->vaddr);
		buffer->vaddr = NULL;
	}
	mutex_unlock(&buffer->lock);
	iosys_map_clear(map);
}

static void heap_free(struct heap_buffer *buffer)
{
	unsigned long i;

	/* Drops a reference of each chunk: I/O may still hold another. */
	for (i = 0; i < buffer->nr_chunks; i++)
		put_page(buffer->chunks[i]);
	kvfree(buffer->chunks);
	kfree(buffer);
}

static void heap_release(struct dma_buf *dmabuf)
{
	heap_free(dmabuf->priv);
}

static const struct dma_buf_ops heap_buf_ops = {
	.attach = heap_attach,
	.detach = heap_detach,
	.map_dma_buf = heap_map_dma_buf,
	.unmap_dma_buf = heap_unmap_dma_buf,
	.begin_cpu_access = heap_begin_cpu_access,
	.end_cpu_access = heap_end_cpu_access,
	.mmap = heap_mmap,
	.vmap = heap_vmap,
	.vunmap = heap_vunmap,
	.release = heap_release,
};

/*
 * Allocates one chunk of at most @left bytes, from the sizes from *@size on.
 * Who could not get a size does not try it again for this buffer.
 */
static struct page *heap_alloc_chunk(unsigned long left, unsigned int *size)
{
	for (; *size < ARRAY_SIZE(chunk_sizes); (*size)++) {
		unsigned int order = get_order(chunk_sizes[*size]);
		struct page *page;

		if (chunk_sizes[*size] > left)
			continue;
		page = alloc_pages(order ? LARGE_GFP : SMALL_GFP, order);
		if (page)
			return page;
	}

	return NULL;
}

/* Fills an array of @len / PAGE_SIZE entries at most, which it shortens. */
static int heap_alloc_chunks(struct heap_buffer *buffer)
{
	unsigned long done = 0;
	unsigned int size = 0;
	struct page *page, *next;
	LIST_HEAD(pages);
	int ret = -ENOMEM;

	while (done < buffer->len) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			goto free;
		}
		page = heap_alloc_chunk(buffer->len - done, &size);
		if (!page)
			goto free;
		list_add_tail(&page->lru, &pages);
		/* The core compares it with the size of the buffer. */
		heap_head(page)->index = done >> PAGE_SHIFT;
		done += page_size(page);
		buffer->nr_chunks++;
		if (page_size(page) == PMD_SIZE)
			buffer->nr_huge_pages = done >> PAGE_SHIFT;
	}

	buffer->chunks = kvmalloc_array(buffer->nr_chunks,
					sizeof(*buffer->chunks), GFP_KERNEL);
	if (!buffer->chunks)
		goto free;
	buffer->nr_chunks = 0;
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		buffer->chunks[buffer->nr_chunks++] = page;
	}

	return 0;

free:
	list_for_each_entry_safe(page, next, &pages, lru) {
		list_del(&page->lru);
		put_page(page);
	}
	buffer->nr_chunks = 0;

	return ret;
}

static struct dma_buf *heap_allocate(struct dma_heap *heap, unsigned long len,
				     heap_fd_flags_t fd_flags,
				     heap_flags_t heap_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp_info);
	struct heap_buffer *buffer;
	struct dma_buf *dmabuf;
	int ret;

	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->len = len;
	mutex_init(&buffer->lock);
	INIT_LIST_HEAD(&buffer->attachments);

	ret = heap_alloc_chunks(buffer);
	if (ret) {
		heap_free(buffer);
		return ERR_PTR(ret);
	}

	exp_info.exp_name = name;
	exp_info.ops = &heap_buf_ops;
	exp_info.size = len;
	exp_info.flags = fd_flags;
	exp_info.priv = buffer;
	dmabuf = dma_buf_export(&exp_info);
	if (IS_ERR(dmabuf))
		heap_free(buffer);

	return dmabuf;
}

static const struct dma_heap_ops heap_ops = {
	.allocate = heap_allocate,
};

/* There is no way to remove a heap, so there is none to unload the module. */
static int __init heap_init(void)
{
	const struct dma_heap_export_info info = {
		.name = name,
		.ops = &heap_ops,
	};

	return PTR_ERR_OR_ZERO(dma_heap_add(&info));
}
module_init(heap_init);

MODULE_DESCRIPTION("DMA-BUF heap whose mappings direct I/O can pin");
MODULE_LICENSE("GPL");
