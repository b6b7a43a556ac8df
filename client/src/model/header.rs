//! The header of a file of either format.

use super::error::{FaultResult, ModelError};
use super::part::Part;
use super::reader::Reader;
use super::tensor::{Format, Tensor};
use super::{gguf, safetensors};

/// The header of one file.
pub(super) enum Header {
    Safetensors(safetensors::Header),
    Gguf(gguf::Header),
}

impl Header {
    pub fn parse(part: &Part) -> Result<Self, ModelError> {
        let parse = || -> FaultResult<Self> {
            let (mut reader, mut magic) = (Reader::new(part), [0; 4]);
            reader.read(&"magic", &mut magic)?;
            reader.rewind();
            Ok(match magic {
                gguf::MAGIC => Self::Gguf(gguf::Header::parse(part, reader)?),
                _ => Self::Safetensors(safetensors::Header::parse(reader)?),
            })
        };
        parse().map_err(|fault| fault.within(part.name()))
    }

    pub fn format(&self) -> Format {
        match self {
            Self::Safetensors(_) => Format::Safetensors,
            Self::Gguf(_) => Format::Gguf,
        }
    }

    pub fn into_tensors(self) -> Vec<Tensor> {
        match self {
            Self::Safetensors(header) => header.tensors,
            Self::Gguf(header) => header.tensors,
        }
    }
}
