//! temporary
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, dead_code)]
pub enum Class { Null, Anonymous, Export, Rc4, Block64, Cbc, StaticRsa, Good }
#[allow(missing_docs)]
pub fn class(id: u16) -> Class { match id { 0xC011 => Class::Rc4, 0xC010 => Class::Null, 0x009C => Class::StaticRsa, _ => Class::Good } }
