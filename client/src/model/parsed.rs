//! [`Model`]: the tensors of one or several files.

use super::error::{Fault, ModelError, Problem};
use super::header::Header;
use super::part::Part;
use super::pattern;
use super::shards::{self, Index};
use super::tensor::{Format, Tensor};
use std::collections::HashMap;
use std::path::Path;

/// The parsed headers of a model, and its open files.
#[derive(Debug)]
pub struct Model {
    format: Format,
    parts: Vec<Part>,
    tensors: Vec<Tensor>,
    by_name: HashMap<String, usize>,
}

impl Model {
    /// Opens the model at `path`, and its other files: the shards that an index (`.json`) names, or
    /// all files of a split GGUF (`NAME-00001-of-00003.gguf`), whichever of them `path` is.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if a header contradicts itself, its file or the other files.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if path.extension().is_some_and(|extension| extension == "json") {
            return Self::open_shards(path);
        }
        let part = Part::open(path)?;
        match Header::parse(&part)? {
            Header::Gguf(header) if header.split.count > 1 => {
                let paths = shards::split_paths(&part, &header)?;
                let parts: Result<_, _> = paths.iter().map(|path| Part::open(path)).collect();
                Self::from_parts(parts?)
            }
            header => Self::new(vec![part], vec![header]),
        }
    }

    /// Opens the shards that the index at `path` names.
    fn open_shards(path: &Path) -> Result<Self, ModelError> {
        let index = Index::open(path)?;
        let parts: Result<Vec<Part>, _> =
            index.shards().map(|shard| Part::open(&path.with_file_name(shard))).collect();
        let model = Self::from_parts(parts?)?;
        index.check(&model.parts, &model.tensors)?;
        Ok(model)
    }

    /// A model of parts of files, which may lie inside other files: all shards or, in their order,
    /// all files of a split GGUF.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_parts(parts: Vec<Part>) -> Result<Self, ModelError> {
        let headers: Result<_, _> = parts.iter().map(Header::parse).collect();
        Self::new(parts, headers?)
    }

    fn new(parts: Vec<Part>, headers: Vec<Header>) -> Result<Self, ModelError> {
        let (Some(first), Some(header)) = (parts.first(), headers.first()) else {
            return Err(ModelError::Layout("a model has at least one file".to_owned()));
        };
        let format = header.format();
        shards::check(&parts, &headers).map_err(|(part, fault)| match parts.get(part) {
            Some(part) => fault.within(part.name()),
            None => fault.within(first.name()),
        })?;
        let mut tensors: Vec<Tensor> = Vec::new();
        let mut by_name = HashMap::new();
        for (i, header) in headers.into_iter().enumerate() {
            for tensor in header.into_tensors() {
                if by_name.insert(tensor.name.clone(), tensors.len()).is_some() {
                    let fault = Fault::tensor(&tensor.name, tensor.offset, Problem::Duplicate);
                    return Err(fault.within(parts[i].name()));
                }
                tensors.push(Tensor { part: i, ..tensor });
            }
        }
        Ok(Self { format, parts, tensors, by_name })
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The files.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The tensors, in the order of the files.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// The tensors whose names match one of `patterns`, as indices into [`Model::tensors`], in the
    /// order of the files. In a pattern, `*` stands for any text and `?` for one character.
    ///
    /// # Errors
    /// [`ModelError::NoSuchTensor`] for a pattern that matches nothing.
    pub fn select(&self, patterns: &[&str]) -> Result<Vec<usize>, ModelError> {
        let mut selected = vec![false; self.tensors.len()];
        for pattern in patterns {
            let mut found = false;
            for (tensor, selected) in self.tensors.iter().zip(&mut selected) {
                if pattern::matches(pattern, &tensor.name) {
                    (found, *selected) = (true, true);
                }
            }
            if !found && *pattern != "*" {
                return Err(ModelError::NoSuchTensor((*pattern).to_owned()));
            }
        }
        Ok((0..selected.len()).filter(|&i| selected[i]).collect())
    }
}
