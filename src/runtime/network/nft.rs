//! nftables over netlink: expressions as data, transactions that hold whole or not at all.
//!
//! The socket is kept open: closing one that deleted something waits some 12 ms for the kernel to free it.

use std::io;

use netlink_bindings::nftables::{
    self, MetaKeys, Nfgenmsg, PayloadBase, PushExprAttrs, PushExprListAttrs, VerdictCode,
};
use netlink_bindings::traits::Pusher;
use netlink_socket2::NetlinkSocket;
use nix::errno::Errno;

use crate::runtime::sys::OsError;

/// The families of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A 4-byte register; longer values fill several from here on. Sixteen there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(pub u8);

impl Register {
    /// NFT_REG32_00 is number 8.
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// One step of a rule.
#[derive(Debug, Clone)]
pub enum Expression {
    /// Loads a property of the packet.
    Meta(MetaKeys, Register),
    /// Loads bytes of the packet: header, offset, length.
    Payload(PayloadBase, u32, u32, Register),
    /// Loads a property of its connection.
    Ct(CtKey, Register),
    /// Loads what kind of address the destination is.
    AddressType(Register),
    /// Goes on only if equal.
    Equal(Register, Vec<u8>),
    /// Goes on only if one of these bits is set.
    AnyBit(Register, u32),
    /// Goes on only if found in the set.
    In(Register, &'static str),
    /// Goes on only if not found in the set.
    NotIn(Register, &'static str),
    /// Goes on only if found in the map, and loads what it leads to.
    Map(Register, &'static str, Register),
    /// Sends the connection to the address and port loaded in these registers.
    Dnat(Register, Register, IpFamily),
    /// Gives the connection the address of the interface it leaves by.
    Masquerade,
    /// Writes two bytes of the transport header and mends its checksum.
    SetTransport {
        /// Where they lie.
        offset: u32,
        /// Where the checksum lies.
        checksum: u32,
        /// The two bytes.
        from: Register,
    },
    /// Loads a constant.
    Load(Register, Vec<u8>),
    /// Gives the packet the mark in this register.
    SetMark(Register),
    /// Loads a random number below this one, in the machine's byte order.
    Random(u32, Register),
    /// Ends here: let through.
    Accept,
    /// Ends here: dropped.
    Drop,
    /// Goes on in another chain.
    Jump(&'static str),
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtKey {
    /// New, established, …
    State,
    /// Redirected, …
    Status,
}

/// Which kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Where a chain is hooked in: type, hook number, priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// `NF_INET_…`.
    pub number: u32,
    /// Lower is earlier.
    pub priority: i32,
}

/// The type of a set's keys or a map's values, by nft's numbers and lengths; a concatenation has several.
pub type Types = &'static [(u32, u32)];

/// An interface's name.
pub const IFNAME: (u32, u32) = (41, 16);
/// An IPv4 address.
pub const IPV4: (u32, u32) = (7, 4);
/// An IPv6 address.
pub const IPV6: (u32, u32) = (8, 16);
/// A transport protocol.
pub const PROTOCOL: (u32, u32) = (12, 1);
/// A port.
pub const PORT: (u32, u32) = (13, 2);
/// A plain number, in the machine's byte order.
pub const NUMBER: (u32, u32) = (19, 4);

/// nft prints a concatenation by its types, six bits each.
fn type_number(types: Types) -> u32 {
    types.iter().fold(0, |number, (one, _)| (number << 6) | one)
}

/// Every part of a concatenation fills whole registers.
fn type_length(types: Types) -> u32 {
    match types {
        [(_, length)] => *length,
        several => several.iter().map(|(_, length)| length.next_multiple_of(4)).sum(),
    }
}

/// Parts of a concatenated key or value.
pub fn concat(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// An interface's name as sets hold it.
pub fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Elements in one message; an attribute's length has sixteen bits.
const ELEMENTS: usize = 240;

/// Changes to one table that hold all together or not at all.
pub struct Transaction<'a> {
    family: Family,
    table: &'a str,
    chained: nftables::Chained<'static>,
    sets: u32,
}

fn header(family: Family) -> Nfgenmsg {
    let family = match family {
        Family::Inet => 1,
        Family::Ip => libc::AF_INET as u8,
        Family::Ip6 => libc::AF_INET6 as u8,
    };
    Nfgenmsg { nfgen_family: family, ..Default::default() }
}

fn batch_header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.set_res_id(libc::NFNL_SUBSYS_NFTABLES as u16);
    header
}

impl<'a> Transaction<'a> {
    /// Nothing yet. `sequence` numbers its messages; a socket must not see one twice.
    fn new(family: Family, table: &'a str, sequence: u32) -> Transaction<'a> {
        let mut chained = nftables::Chained::new(sequence);
        chained.request().op_batch_begin_do(&batch_header());
        Transaction { family, table, chained, sets: 0 }
    }

    /// Makes the table; everything fails with `EEXIST` if it is there.
    pub fn new_table(&mut self) {
        let request = self.chained.request().set_create().set_excl();
        request.op_newtable_do(&header(self.family)).encode().push_name_bytes(self.table.as_bytes());
    }

    /// Deletes the table and all in it.
    pub fn delete_table(&mut self) {
        let request = self.chained.request().op_deltable_do(&header(self.family));
        request.into_encoder().push_name_bytes(self.table.as_bytes());
    }

    /// Makes a set, or a map where there are value types.
    pub fn new_set(&mut self, name: &str, keys: Types, values: Types) {
        self.sets += 1;
        let request = self.chained.request().set_create().op_newset_do(&header(self.family));
        // NFT_SET_MAP
        let flags = if values.is_empty() { 0 } else { 8 };
        let set = request
            .into_encoder()
            .push_table_bytes(self.table.as_bytes())
            .push_name_bytes(name.as_bytes())
            .push_flags(flags)
            .push_key_type(type_number(keys))
            .push_key_len(type_length(keys))
            .push_id(self.sets);
        // How nft is to print keys of the machine's byte order: NFTNL_UDATA_SET_KEYBYTEORDER, host endian.
        let set = match keys {
            [IFNAME] => set.push_userdata(&[0, 4, 1, 0, 0, 0]),
            _ => set,
        };
        if !values.is_empty() {
            set.push_data_type(type_number(values)).push_data_len(type_length(values));
        }
    }

    /// Adds keys with their values (empty in a set). One that is there with the same value is no fault.
    pub fn add_elements(&mut self, set: &str, elements: &[(Vec<u8>, Vec<u8>)]) {
        for elements in elements.chunks(ELEMENTS) {
            let request = self.chained.request().set_create().op_newsetelem_do(&header(self.family));
            let mut list = request
                .into_encoder()
                .push_table_bytes(self.table.as_bytes())
                .push_set_bytes(set.as_bytes())
                .nested_elements();
            for (key, value) in elements {
                let element = list.nested_elem().nested_key().push_value(key).end_nested();
                list = match value.as_slice() {
                    [] => element.end_nested(),
                    value => element.nested_data().push_value(value).end_nested().end_nested(),
                };
            }
        }
    }

    /// Removes keys; everything fails with `ENOENT` if one is not there.
    pub fn delete_elements<'k>(&mut self, set: &str, keys: impl IntoIterator<Item = &'k [u8]>) {
        let keys: Vec<&[u8]> = keys.into_iter().collect();
        for keys in keys.chunks(ELEMENTS) {
            let request = self.chained.request().op_delsetelem_do(&header(self.family));
            let mut list = request
                .into_encoder()
                .push_table_bytes(self.table.as_bytes())
                .push_set_bytes(set.as_bytes())
                .nested_elements();
            for key in keys {
                list = list.nested_elem().nested_key().push_value(key).end_nested().end_nested();
            }
        }
    }

    /// Makes a chain.
    pub fn new_chain(&mut self, name: &str, hook: Option<Hook>) {
        let request = self.chained.request().set_create().op_newchain_do(&header(self.family));
        let chain = request.into_encoder().push_table_bytes(self.table.as_bytes()).push_name_bytes(name.as_bytes());
        if let Some(hook) = hook {
            chain
                .nested_hook()
                .push_num(hook.number)
                .push_priority(hook.priority)
                .end_nested()
                .push_type_bytes(hook.kind.as_bytes());
        }
    }

    /// Adds a rule at the end of a chain.
    pub fn append(&mut self, chain: &str, expressions: &[Expression]) {
        let request = self.chained.request().set_create().set_append().op_newrule_do(&header(self.family));
        let rule = request.into_encoder().push_table_bytes(self.table.as_bytes()).push_chain_bytes(chain.as_bytes());
        expressions.iter().fold(rule.nested_expressions(), encode);
    }

    /// Adds a rule at the beginning of a chain, with a comment to find it by.
    pub fn insert(&mut self, chain: &str, comment: &str, expressions: &[Expression]) {
        let request = self.chained.request().set_create().op_newrule_do(&header(self.family));
        let rule = request.into_encoder().push_table_bytes(self.table.as_bytes()).push_chain_bytes(chain.as_bytes());
        let rule = expressions.iter().fold(rule.nested_expressions(), encode).end_nested();
        rule.push_userdata(&user_comment(comment));
    }

    /// Deletes a rule by its handle.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        let request = self.chained.request().op_delrule_do(&header(self.family));
        request
            .into_encoder()
            .push_table_bytes(self.table.as_bytes())
            .push_chain_bytes(chain.as_bytes())
            .push_handle(handle);
    }
}

/// A comment as libnftnl stores it: type 0, length, text with its end.
fn user_comment(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![0, length];
    bytes.extend(comment.bytes().take(usize::from(length) - 1));
    bytes.push(0);
    bytes
}

fn encode<P: Pusher>(list: PushExprListAttrs<P>, expression: &Expression) -> PushExprListAttrs<P> {
    let element = list.nested_elem();
    let verdict = |code| Some((code, None));
    let ending = match expression {
        Expression::Accept => verdict(VerdictCode::Accept),
        Expression::Drop => verdict(VerdictCode::Drop),
        Expression::Jump(chain) => Some((VerdictCode::Jump, Some(*chain))),
        _ => None,
    };
    if let Some((code, chain)) = ending {
        // NFT_REG_VERDICT
        let verdict = element.nested_data_immediate().push_dreg(0).nested_data().nested_verdict();
        let verdict = verdict.push_code(code as u32);
        let verdict = match chain {
            Some(chain) => verdict.push_chain_bytes(chain.as_bytes()),
            None => verdict,
        };
        return verdict.end_nested().end_nested().end_nested().end_nested();
    }
    match expression {
        Expression::Meta(key, to) => {
            let data = element.nested_data_meta().push_dreg(to.number()).push_key(*key as u32);
            data.end_nested().end_nested()
        }
        Expression::Payload(base, offset, length, to) => {
            let data = element.nested_data_payload().push_dreg(to.number()).push_base(*base as u32);
            data.push_offset(*offset).push_len(*length).end_nested().end_nested()
        }
        Expression::Ct(key, to) => {
            let key = match key {
                CtKey::State => 0,
                CtKey::Status => 2,
            };
            element.nested_data_ct().push_dreg(to.number()).push_key(key).end_nested().end_nested()
        }
        Expression::AddressType(to) => {
            // NFT_FIB_RESULT_ADDRTYPE (the crate counts from 0), NFTA_FIB_F_DADDR
            let data = element.nested_data_fib().push_dreg(to.number()).push_result(3).push_flags(2);
            data.end_nested().end_nested()
        }
        Expression::Equal(from, value) => {
            // NFT_CMP_EQ
            let data = element.nested_data_cmp().push_sreg(from.number()).push_op(0).nested_data();
            data.push_value(value).end_nested().end_nested().end_nested()
        }
        Expression::AnyBit(from, bits) => {
            let data = element.nested_data_bitwise().push_sreg(from.number()).push_dreg(from.number()).push_len(4);
            let data = data.nested_mask().push_value(&bits.to_ne_bytes()).end_nested();
            let data = data.nested_xor().push_value(&[0; 4]).end_nested();
            let element = data.end_nested().end_nested().nested_elem();
            // NFT_CMP_NEQ
            let data = element.nested_data_cmp().push_sreg(from.number()).push_op(1).nested_data();
            data.push_value(&[0; 4]).end_nested().end_nested().end_nested()
        }
        Expression::In(from, set) => lookup(element, set, &[(LOOKUP_SREG, from.number())]),
        // NFT_LOOKUP_F_INV
        Expression::NotIn(from, set) => lookup(element, set, &[(LOOKUP_SREG, from.number()), (LOOKUP_FLAGS, 1)]),
        Expression::Map(from, set, to) => {
            lookup(element, set, &[(LOOKUP_SREG, from.number()), (LOOKUP_DREG, to.number())])
        }
        Expression::Dnat(address, port, family) => {
            let family = match family {
                IpFamily::V4 => libc::AF_INET,
                IpFamily::V6 => libc::AF_INET6,
            };
            // NFT_NAT_DNAT
            let data = element.nested_data_nat().push_type(1).push_family(family as u32);
            let data = data.push_reg_addr_min(address.number()).push_reg_proto_min(port.number());
            data.end_nested().end_nested()
        }
        // The crate knows no attributes of `masq`; none are needed.
        Expression::Masquerade => element.push_name(c"masq").end_nested(),
        Expression::SetTransport { offset, checksum, from } => {
            let data = element.nested_data_payload().push_sreg(from.number());
            let data = data.push_base(PayloadBase::TransportHeader as u32).push_offset(*offset).push_len(2);
            // NFT_PAYLOAD_CSUM_INET
            data.push_csum_type(1).push_csum_offset(*checksum).end_nested().end_nested()
        }
        Expression::Load(to, value) => {
            let data = element.nested_data_immediate().push_dreg(to.number()).nested_data();
            data.push_value(value).end_nested().end_nested().end_nested()
        }
        Expression::SetMark(from) => {
            let data = element.nested_data_meta().push_sreg(from.number()).push_key(MetaKeys::Mark as u32);
            data.end_nested().end_nested()
        }
        Expression::Random(below, to) => {
            // The crate forgets the byte order of this one register. NFT_NG_RANDOM
            let data = element.nested_data_numgen().push_dreg(to.number().to_be());
            data.push_modulus(*below).push_type(1).end_nested().end_nested()
        }
        Expression::Accept | Expression::Drop | Expression::Jump(_) => element.end_nested(),
    }
}

/// NFTA_LOOKUP_…; the crate numbers them otherwise than the kernel.
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_FLAGS: u16 = 5;

fn lookup<P: Pusher>(
    element: PushExprAttrs<PushExprListAttrs<P>>,
    set: &str,
    attributes: &[(u16, u32)],
) -> PushExprListAttrs<P> {
    let mut data = element.nested_data_lookup().push_set_bytes(set.as_bytes());
    let bytes = data.as_vec_mut();
    for (kind, value) in attributes {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value.to_be_bytes());
    }
    data.end_nested().end_nested()
}

/// A conversation with the nftables of one network namespace: that of the thread that used it first.
pub struct Socket(NetlinkSocket);

impl std::fmt::Debug for Socket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("nftables socket")
    }
}

impl Default for Socket {
    fn default() -> Socket {
        Socket(NetlinkSocket::new())
    }
}

/// More messages than one transaction of ours has.
const SEQUENCES: u32 = 1024;

impl Socket {
    /// Has the kernel do what `build` puts together, whole or not at all.
    pub fn commit(
        &mut self,
        family: Family,
        table: &str,
        build: impl FnOnce(&mut Transaction<'_>),
    ) -> Result<(), OsError> {
        let mut transaction = Transaction::new(family, table, self.0.reserve_seq(SEQUENCES));
        build(&mut transaction);
        transaction.chained.request().op_batch_end_do(&batch_header());
        let messages = transaction.chained.finalize();
        let sent = self.0.request_chained(&messages).map_err(Into::into).and_then(|mut answers| answers.recv_all());
        sent.map_err(|error| failed("change nftables", table, error))
    }

    /// Whether there is a table of this name.
    pub fn has_table(&mut self, family: Family, table: &str) -> Result<bool, OsError> {
        let mut request = nftables::Request::new().op_gettable_do(&header(family));
        request.encode().push_name_bytes(table.as_bytes());
        let answer = self.0.request(&request).map_err(Into::into).and_then(|mut answer| answer.recv_one().map(drop));
        found(answer.map_err(|error| failed("look up nftables table", table, error)))
    }

    /// Whether there is a chain of this name.
    pub fn has_chain(&mut self, family: Family, table: &str, chain: &str) -> Result<bool, OsError> {
        let mut request = nftables::Request::new().op_getchain_do(&header(family));
        request.encode().push_table_bytes(table.as_bytes()).push_name_bytes(chain.as_bytes());
        let answer = self.0.request(&request).map_err(Into::into).and_then(|mut answer| answer.recv_one().map(drop));
        found(answer.map_err(|error| failed("look up nftables chain", chain, error)))
    }

    /// Whether a set holds a key.
    pub fn has_element(&mut self, family: Family, table: &str, set: &str, key: &[u8]) -> Result<bool, OsError> {
        let mut request = nftables::Request::new().op_getsetelem_do(&header(family));
        let list = request.encode().push_table_bytes(table.as_bytes()).push_set_bytes(set.as_bytes());
        list.nested_elements().nested_elem().nested_key().push_value(key);
        let answer = self.0.request(&request).map_err(Into::into).and_then(|mut answer| answer.recv_one().map(drop));
        found(answer.map_err(|error| failed("look up nftables element", set, error)))
    }

    /// Handles of the rules of a chain that bear this comment.
    pub fn rules(&mut self, family: Family, table: &str, chain: &str, comment: &str) -> Result<Vec<u64>, OsError> {
        let mut request = nftables::Request::new().op_getrule_dump(&header(family));
        request.encode().push_table_bytes(table.as_bytes()).push_chain_bytes(chain.as_bytes());
        let wanted = user_comment(comment);
        let fail = |error| failed("list nftables rules", chain, error);
        let mut answers = self.0.request(&request).map_err(|error| fail(error.into()))?;
        let mut handles = Vec::new();
        while let Some((_, rule)) = answers.recv().transpose().map_err(fail)? {
            if rule.get_userdata().is_ok_and(|data| data == wanted.as_slice()) {
                handles.extend(rule.get_handle());
            }
        }
        Ok(handles)
    }
}

fn failed(call: &'static str, subject: &str, error: netlink_socket2::ReplyError) -> OsError {
    let errno = io::Error::from(error).raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    OsError { call, subject: subject.to_owned(), errno }
}

fn found(answer: Result<(), OsError>) -> Result<bool, OsError> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if error.errno == Errno::ENOENT => Ok(false),
        Err(error) => Err(error),
    }
}
