//! Places for tensors in buffers, so that as much as possible goes direct.
//!
//! Tensors that follow each other in the file are read as one run. A run begins in the buffer at its
//! place in the file modulo the page, and has its pages for itself: it is read in whole pages, all
//! direct. Where the file's own alignment is not the one that the caller needs, the run is moved
//! down by less than that alignment, or a page, after the read.

use super::error::ModelError;
use super::parsed::Model;
use super::tensor::Tensor;
use crate::client::Client;
use crate::error::Error;
use dmabufio_core::extent::Extent;

/// The size of buffers unless the caller chooses one: several for a large model, so that allocating
/// the next overlaps with reading.
const DEFAULT_BUFFER: u64 = 64 << 20;
const LARGEST_ALIGNMENT: u64 = 64 << 10;

/// How tensors are laid out in buffers. All sizes are in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// What the offset of each tensor in its buffer is a multiple of: a power of two up to 64 KiB;
    /// 1 to keep the alignment of the file.
    pub alignment: u64,
    /// The size that a buffer does not exceed. A tensor that is larger has a buffer of its own.
    pub buffer_size: u64,
    /// The page size, which is the alignment of direct I/O.
    pub page_size: u64,
}

impl Layout {
    /// The alignment of the file, buffers of 64 MiB, and the page size of `client`.
    pub fn of(client: &Client) -> Result<Self, Error> {
        let page_size = client.capabilities()?.page_size;
        Ok(Self { alignment: 1, buffer_size: DEFAULT_BUFFER, page_size })
    }

    /// The same with another alignment.
    pub fn aligned(self, alignment: u64) -> Self {
        Self { alignment, ..self }
    }

    fn check(&self) -> Result<(), ModelError> {
        let Self { alignment, buffer_size, page_size } = *self;
        if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
            let limit = LARGEST_ALIGNMENT;
            let what = format!("alignment {alignment}: not a power of two up to {limit}");
            return Err(ModelError::Layout(what));
        }
        if !page_size.is_power_of_two() || buffer_size < page_size {
            let what = format!("buffer size {buffer_size}: less than a page, {page_size} bytes");
            return Err(ModelError::Layout(what));
        }
        Ok(())
    }
}

/// The place of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of [`Model::tensors`].
    pub tensor: usize,
    /// Which of [`Plan::buffers`].
    pub buffer: usize,
    /// Where it begins in the buffer, in bytes.
    pub offset: u64,
    /// Whether the CPU moves it after the read, because the alignment of the file is too small.
    pub moved: bool,
}

/// A copy inside a buffer after the read, to a lower offset. All fields are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// From this offset.
    pub from: u64,
    /// To this one.
    pub to: u64,
    /// So many bytes.
    pub len: u64,
}

/// A buffer to allocate and to fill from one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBuffer {
    /// Its size in bytes, a multiple of the page size.
    pub size: u64,
    /// Which of [`Model::parts`] fills it.
    pub part: usize,
    /// What is read.
    pub extents: Vec<Extent>,
    /// What is moved after that.
    pub moves: Vec<Move>,
}

/// Buffers for tensors.
#[derive(Debug, Clone)]
pub struct Plan {
    buffers: Vec<PlannedBuffer>,
    places: Vec<Place>,
}

/// Tensors that are read together.
struct Run {
    part: usize,
    /// In the file.
    start: u64,
    end: u64,
    /// Where in the buffer `start` is read to.
    at: u64,
    /// By how much it is moved down.
    shift: u64,
}

impl Run {
    /// Where in the buffer the byte `offset` of the file is after the move.
    fn place(&self, offset: u64) -> u64 {
        self.at - self.shift + (offset - self.start)
    }

    /// What is read: whole pages, as far as the part has them.
    fn extent(&self, model: &Model, page: u64) -> Extent {
        let range = model.parts()[self.part].range();
        let first = self.start / page * page;
        let start = if first < range.start { self.start } else { first };
        let end = self.end.checked_next_multiple_of(page).unwrap_or(self.end);
        let end = if end > range.end { range.end.max(self.end) } else { end };
        Extent {
            file_offset: start,
            buffer_offset: self.at - (self.start - start),
            len: end - start,
        }
    }
}

impl Plan {
    /// Plans a load of the tensors that [`Model::select`] finds: `["*"]` for all.
    ///
    /// # Errors
    /// [`ModelError::NoSuchTensor`]; [`ModelError::Layout`] if `layout` is not possible.
    pub fn new(model: &Model, patterns: &[&str], layout: &Layout) -> Result<Self, ModelError> {
        layout.check()?;
        let tensors = model.select(patterns)?;
        let mut builder = Builder {
            model,
            layout: *layout,
            plan: Self { buffers: Vec::new(), places: Vec::with_capacity(tensors.len()) },
            run: None,
        };
        for tensor in tensors {
            builder.add(tensor)?;
        }
        builder.close();
        Ok(builder.plan)
    }

    /// The buffers.
    pub fn buffers(&self) -> &[PlannedBuffer] {
        &self.buffers
    }

    /// The places of the tensors, in the order of the files.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Bytes that are read.
    pub fn bytes_read(&self) -> u64 {
        self.buffers.iter().flat_map(|buffer| &buffer.extents).map(|extent| extent.len).sum()
    }

    /// Bytes that the CPU moves after the read.
    pub fn bytes_moved(&self) -> u64 {
        self.buffers.iter().flat_map(|buffer| &buffer.moves).map(|part| part.len).sum()
    }
}

struct Builder<'a> {
    model: &'a Model,
    layout: Layout,
    plan: Plan,
    /// The last run of the last buffer, which is not in its extents yet.
    run: Option<Run>,
}

impl Builder<'_> {
    fn add(&mut self, index: usize) -> Result<(), ModelError> {
        let tensor = &self.model.tensors()[index];
        if let Some(run) = self.run.as_mut().filter(|run| joins(run, tensor, &self.layout)) {
            run.end = run.end.max(tensor.end());
        } else {
            self.close();
            self.begin(tensor)?;
        }
        let Some(run) = &self.run else { return Ok(()) };
        self.plan.places.push(Place {
            tensor: index,
            buffer: self.plan.buffers.len() - 1,
            offset: run.place(tensor.offset),
            moved: run.shift > 0 && tensor.len > 0,
        });
        Ok(())
    }

    /// Begins a run with `tensor`: in the last buffer if it has room, otherwise in a new one.
    fn begin(&mut self, tensor: &Tensor) -> Result<(), ModelError> {
        let Layout { alignment, buffer_size, page_size } = self.layout;
        let overflow = || ModelError::Layout(format!("tensor {:?}: too large", tensor.name));
        let within_page = tensor.offset % page_size;
        let run = |base: u64| Run {
            part: tensor.part,
            start: tensor.offset,
            end: tensor.end(),
            at: base + within_page,
            shift: tensor.offset % alignment.min(page_size),
        };
        let last = self.plan.buffers.last().filter(|buffer| buffer.part == tensor.part);
        let base = last.and_then(|buffer| {
            let base = buffer.size.checked_next_multiple_of(alignment.max(page_size))?;
            let end = base.checked_add(within_page)?.checked_add(tensor.len)?;
            (end <= buffer_size).then_some(base)
        });
        tensor.len.checked_add(2 * page_size).ok_or_else(overflow)?;
        if base.is_none() {
            let (part, extents, moves) = (tensor.part, Vec::new(), Vec::new());
            self.plan.buffers.push(PlannedBuffer { size: 0, part, extents, moves });
        }
        self.run = Some(run(base.unwrap_or(0)));
        Ok(())
    }

    /// Writes the last run down.
    fn close(&mut self) {
        let (Some(run), Some(buffer)) = (self.run.take(), self.plan.buffers.last_mut()) else {
            return;
        };
        let page = self.layout.page_size;
        let len = run.end - run.start;
        let extent = run.extent(self.model, page);
        // A buffer has at least a page.
        let end = extent.buffer_end().max(run.at + 1);
        buffer.size = end.next_multiple_of(page);
        if len > 0 {
            buffer.extents.push(extent);
            if run.shift > 0 {
                buffer.moves.push(Move { from: run.at, to: run.at - run.shift, len });
            }
        }
    }
}

/// Whether `tensor` can be read, and moved, with the run before it.
fn joins(run: &Run, tensor: &Tensor, layout: &Layout) -> bool {
    let Layout { alignment, buffer_size, page_size } = *layout;
    let near = tensor.offset >= run.end && tensor.offset - run.end < page_size;
    run.part == tensor.part
        && near
        && tensor.offset % alignment.min(page_size) == run.shift
        && run.place(tensor.offset) % alignment == 0
        && run.at + (tensor.end() - run.start) <= buffer_size
}
