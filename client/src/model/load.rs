//! Loads tensors into buffers.

use super::dtype::Dtype;
use super::error::ModelError;
use super::parsed::Model;
use super::part::Part;
use super::plan::{Move, Place, Plan, PlannedBuffer};
use super::tensor::Tensor;
use crate::buffer::{Buffer, Filled};
use crate::client::Client;
use crate::error::Error;
use crate::request::{Load, Transfer};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::load::{Item, MAX_BATCH};
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::receipt::Receipt;
use std::collections::HashMap;
use std::os::fd::AsFd;

/// The purpose of the buffers in the kernel's statistics.
const TAG: &str = "model";
/// Bytes that are moved at a time.
const STEP: u64 = 1 << 20;

/// Tensors in buffers.
#[derive(Debug)]
pub struct Tensors {
    buffers: Vec<Buffer>,
    receipt: Receipt,
    plan: Plan,
    /// The place of each tensor in the plan's list, by name.
    by_name: HashMap<String, usize>,
    tensors: Vec<Tensor>,
}

/// Where a tensor is.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Its buffer.
    pub buffer: &'a Buffer,
    /// Where it begins in the buffer, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, the outermost first.
    pub shape: &'a [u64],
}

impl Tensors {
    /// Allocates the buffers of `plan`, a plan of `model`, and loads all of it.
    ///
    /// # Errors
    /// [`ModelError::Client`] if a buffer cannot be allocated or filled, and
    /// [`ModelError::Shortened`] if a file ends before a tensor does. No buffer is left then.
    pub fn load(
        client: &Client,
        model: &Model,
        plan: Plan,
        mode: Mode,
    ) -> Result<Self, ModelError> {
        Self::load_with_progress(client, model, plan, mode, &mut |_| ())
    }

    /// As [`Tensors::load`], and calls `progress` with the bytes that a call of the client moved.
    pub fn load_with_progress(
        client: &Client,
        model: &Model,
        plan: Plan,
        mode: Mode,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, ModelError> {
        let most = client.capabilities()?.max_extents;
        let mut buffers = Vec::with_capacity(plan.buffers().len());
        let mut receipt = Receipt::default();
        let mut rest = plan.buffers();
        while let Some(batch) = next_batch(&mut rest, most) {
            let part = &model.parts()[batch[0].part];
            let items: Vec<Item> = batch.iter().map(|planned| first_item(planned, most)).collect();
            let request = Load { mode, tag: TAG, ..Load::new(part.as_fd(), &items) };
            for ((filled, item), planned) in
                client.load(&request)?.into_iter().zip(&items).zip(batch)
            {
                let Filled { buffer, receipt: of_item } = filled?;
                check_moved(part, &item.extents, &of_item)?;
                receipt.add(&of_item);
                progress(of_item.bytes());
                for extents in planned.extents.chunks(most).skip(1) {
                    let moved = transfer(client, part, &buffer, extents, mode)?;
                    receipt.add(&moved);
                    progress(moved.bytes());
                }
                planned.moves.iter().try_for_each(|part| move_down(&buffer, *part))?;
                buffers.push(buffer);
            }
        }
        Ok(Self::new(model, plan, buffers, receipt))
    }

    /// Allocates the buffers of `plan`, a plan of `model`, and loads nothing. [`Tensors::fill`]
    /// loads tensors when they are needed.
    pub fn allocate(client: &Client, model: &Model, plan: Plan) -> Result<Self, ModelError> {
        let allocate = |planned: &PlannedBuffer| client.allocate(planned.size, TAG);
        let buffers: Result<_, _> = plan.buffers().iter().map(allocate).collect();
        Ok(Self::new(model, plan, buffers?, Receipt::default()))
    }

    fn new(model: &Model, plan: Plan, buffers: Vec<Buffer>, receipt: Receipt) -> Self {
        let tensors = plan.places().iter().map(|place| model.tensors()[place.tensor].clone());
        let tensors: Vec<Tensor> = tensors.collect();
        let names = tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i));
        let by_name = names.collect();
        Self { buffers, receipt, plan, by_name, tensors }
    }

    /// Loads the tensors whose names match one of `patterns`, which [`Model::select`] describes,
    /// into their places, again or for the first time. `model` is the one that was planned. No byte
    /// of another tensor changes, so threads can fill different tensors at the same time.
    ///
    /// # Errors
    /// [`ModelError::NoSuchTensor`] if the plan has none of them; [`ModelError::Layout`] if `model`
    /// is another one; those of [`Tensors::load`], after which the tensors that match have any
    /// content.
    pub fn fill(
        &self,
        client: &Client,
        model: &Model,
        patterns: &[&str],
        mode: Mode,
    ) -> Result<Receipt, ModelError> {
        let most = client.capabilities()?.max_extents;
        let selected = model.select(patterns)?;
        // Extents of each buffer, in the order of the file.
        let mut extents: Vec<Vec<Extent>> = vec![Vec::new(); self.buffers.len()];
        for index in selected {
            let tensor = &model.tensors()[index];
            let Some(&i) = self.by_name.get(&tensor.name) else {
                return Err(ModelError::NoSuchTensor(tensor.name.clone()));
            };
            if self.tensors[i] != *tensor {
                let what = format!("tensor {:?}: not the one that was planned", tensor.name);
                return Err(ModelError::Layout(what));
            }
            let place = &self.plan.places()[i];
            if tensor.len > 0 {
                join(&mut extents[place.buffer], place, tensor);
            }
        }
        let mut receipt = Receipt::default();
        for ((buffer, planned), extents) in
            self.buffers.iter().zip(self.plan.buffers()).zip(&extents)
        {
            for extents in extents.chunks(most) {
                let part = &model.parts()[planned.part];
                receipt.add(&transfer(client, part, buffer, extents, mode)?);
            }
        }
        Ok(receipt)
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<View<'_>> {
        let i = *self.by_name.get(name)?;
        let (tensor, place) = (&self.tensors[i], &self.plan.places()[i]);
        Some(View {
            buffer: &self.buffers[place.buffer],
            offset: place.offset,
            len: tensor.len,
            dtype: tensor.dtype,
            shape: &tensor.shape,
        })
    }

    /// The buffers, as the plan has them.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The receipt of [`Tensors::load`]: the sum over all buffers.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// Adds the range of a tensor, as one with the extent before it if it continues it.
fn join(extents: &mut Vec<Extent>, place: &Place, tensor: &Tensor) {
    let next = Extent { file_offset: tensor.offset, buffer_offset: place.offset, len: tensor.len };
    match extents.last_mut() {
        Some(last)
            if last.file_end() == next.file_offset && last.buffer_end() == next.buffer_offset =>
        {
            last.len += next.len;
        }
        _ => extents.push(next),
    }
}

/// The buffers that one call can fill: of one file, with at most `most` extents.
fn next_batch<'a>(rest: &mut &'a [PlannedBuffer], most: usize) -> Option<&'a [PlannedBuffer]> {
    let first = rest.first()?;
    let mut extents = 0;
    let fits = |planned: &&PlannedBuffer| {
        extents += planned.extents.len();
        planned.part == first.part && extents <= most
    };
    // The first one alone may have more, which follow by themselves.
    let len = rest.iter().take(MAX_BATCH).take_while(fits).count().max(1);
    let (batch, others) = rest.split_at(len);
    *rest = others;
    Some(batch)
}

/// What a load can do of a buffer.
fn first_item(planned: &PlannedBuffer, most: usize) -> Item {
    let mut extents: Vec<Extent> = planned.extents.iter().take(most).copied().collect();
    if extents.is_empty() {
        // Tensors without bytes.
        extents.push(Extent { file_offset: 0, buffer_offset: 0, len: 0 });
    }
    Item { size: planned.size, extents }
}

fn transfer(
    client: &Client,
    part: &Part,
    buffer: &Buffer,
    extents: &[Extent],
    mode: Mode,
) -> Result<Receipt, ModelError> {
    let transfer = Transfer {
        mode,
        tag: TAG,
        ..Transfer::new(buffer.as_fd(), part.as_fd(), extents, Direction::Load)
    };
    let receipt = client.transfer(&transfer)?;
    check_moved(part, extents, &receipt)?;
    Ok(receipt)
}

fn check_moved(part: &Part, extents: &[Extent], receipt: &Receipt) -> Result<(), ModelError> {
    let planned: u64 = extents.iter().map(|extent| extent.len).sum();
    let moved = receipt.bytes();
    if moved == planned {
        return Ok(());
    }
    Err(ModelError::Shortened { file: part.name().to_owned(), planned, moved })
}

/// Moves bytes to a lower offset, from the front, so that nothing is overwritten that still has to
/// move.
fn move_down(buffer: &Buffer, Move { from, to, len }: Move) -> Result<(), ModelError> {
    let mut bytes = vec![0; STEP.min(len) as usize];
    for done in (0..len).step_by(STEP as usize) {
        let bytes = &mut bytes[..STEP.min(len - done) as usize];
        buffer.read(from + done, bytes).map_err(Error::from)?;
        buffer.write(to + done, bytes).map_err(Error::from)?;
    }
    Ok(())
}
