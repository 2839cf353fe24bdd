//! What is passed on to other servers, and what of their answers is believed, kept and handed on.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::{A, NULL, TXT};
use hickory_proto::rr::{RData, Record, RecordType};

use super::{Served, addresses, asker, question, web};
use crate::support::cannot_run;
use xcompose::dns::{Asker, Upstreams};

/// A server of somebody else's names at port 53 of a loopback address of its own, by UDP; counts what it is asked.
fn upstream(address: Ipv4Addr, mut answer: impl FnMut(Message) -> Vec<Vec<u8>> + Send + 'static) -> Arc<AtomicUsize> {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            counted.fetch_add(1, Ordering::Relaxed);
            for bytes in answer(Message::from_vec(&buffer[..length]).unwrap()) {
                socket.send_to(&bytes, from).unwrap();
            }
        }
    });
    count
}

fn answered(question: Message, data: impl IntoIterator<Item = RData>) -> Message {
    let name = question.queries[0].name().clone();
    let mut answer = question.into_response();
    answer.add_answers(data.into_iter().map(|data| Record::from_rdata(name.clone(), 60, data)));
    answer
}

fn address() -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))
}

fn asking(upstreams: &[Ipv4Addr]) -> Served {
    let upstreams = Upstreams::These(upstreams.iter().map(|address| IpAddr::from(*address)).collect());
    Served::new(web(1), Asker { upstreams, ..asker() })
}

fn bytes(kind: RecordType) -> Vec<u8> {
    question("Example.org.", kind).to_vec().unwrap()
}

#[test]
fn only_an_answer_to_the_question_is_believed_and_it_is_kept_for_as_long_as_it_says() {
    if cannot_run() {
        return;
    }
    let liar = Ipv4Addr::new(127, 53, 1, 1);
    let count = upstream(liar, |question| {
        let mut wrong_id = answered(question.clone(), [RData::A(A(Ipv4Addr::new(6, 6, 6, 6)))]);
        wrong_id.metadata.id ^= 1;
        let mut other = question.clone();
        other.queries[0].set_name("evil.example.".parse().unwrap());
        let wrong_name = answered(other, [RData::A(A(Ipv4Addr::new(6, 6, 6, 6)))]);
        let rubbish = vec![0xff; 40];
        let truth = answered(question, [address()]);
        vec![wrong_id.to_vec().unwrap(), wrong_name.to_vec().unwrap(), rubbish, truth.to_vec().unwrap()]
    });
    let served = asking(&[liar]);
    for _ in 0..3 {
        let answer = served.udp(&bytes(RecordType::A));
        assert_eq!(addresses(&answer), [IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))]);
        assert_eq!((answer.metadata.id, answer.queries[0].name().to_string().as_str()), (4711, "Example.org."));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1, "the second and third were kept");
    let other = question("other.example.org.", RecordType::A).to_vec().unwrap();
    assert_eq!(addresses(&served.udp(&other)).len(), 1);
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[test]
fn answers_of_any_type_and_size_come_through_and_what_does_not_fit_comes_by_tcp() {
    if cannot_run() {
        return;
    }
    let server = Ipv4Addr::new(127, 53, 1, 2);
    let huge = |question: Message| {
        let text = |_| RData::TXT(TXT::new(vec!["x".repeat(250)]));
        answered(question, (0..100).map(text)).to_vec().unwrap()
    };
    upstream(server, move |question| match question.queries[0].query_type() {
        RecordType::TXT => vec![huge(question)],
        // A type that nobody here has heard of.
        kind => {
            let data = RData::Unknown { code: kind, rdata: NULL::with(vec![1, 2, 3, 0xff]) };
            vec![answered(question, [data]).to_vec().unwrap()]
        }
    });
    let by_tcp = TcpListener::bind((server, 53)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = by_tcp.accept() {
            use std::io::{Read, Write};
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut bytes).unwrap();
            let answer = huge(Message::from_vec(&bytes).unwrap());
            let framed = [&u16::try_from(answer.len()).unwrap().to_be_bytes(), answer.as_slice()].concat();
            stream.write_all(&framed).unwrap();
        }
    });
    let served = asking(&[server]);
    let odd = served.udp(&bytes(RecordType::Unknown(65_280)));
    let RData::Unknown { rdata, .. } = &odd.answers[0].data else { panic!("{odd:?}") };
    assert_eq!(rdata.anything, [1, 2, 3, 0xff]);
    // Whatever its asker says it can take, no datagram of ours is larger than ours are.
    let mut greedy = question("Example.org.", RecordType::TXT);
    greedy.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(65_535);
        edns
    });
    for asked in [bytes(RecordType::TXT), greedy.to_vec().unwrap()] {
        let cut = served.udp(&asked);
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(served.tcp(&asked).answers.len(), 100);
    }
}

#[test]
fn a_lost_datagram_is_sent_again_and_a_late_answer_is_taken_though_another_was_asked_meanwhile() {
    if cannot_run() {
        return;
    }
    let (forgetful, slow, mute) =
        (Ipv4Addr::new(127, 53, 1, 4), Ipv4Addr::new(127, 53, 1, 5), Ipv4Addr::new(127, 53, 1, 6));
    let good = |question: Message| vec![answered(question, [address()]).to_vec().unwrap()];
    let mut lost = false;
    let count =
        upstream(forgetful, move |question| if std::mem::replace(&mut lost, true) { good(question) } else { vec![] });
    let ask = |servers: &[Ipv4Addr]| addresses(&asking(servers).udp(&bytes(RecordType::A)));
    assert_eq!(ask(&[forgetful]), [IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))]);
    assert_eq!(count.load(Ordering::Relaxed), 2);

    let (turn, turned) = std::sync::mpsc::channel();
    upstream(mute, move |_| {
        turn.send(()).unwrap();
        vec![]
    });
    upstream(slow, move |question| {
        // Not before the other one has been asked.
        turned.recv().unwrap();
        good(question)
    });
    assert_eq!(ask(&[slow, mute]), [IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))]);
}

#[test]
fn a_container_that_asks_too_much_is_refused_and_holds_up_nobody() {
    if cannot_run() {
        return;
    }
    let silent = Ipv4Addr::new(127, 53, 1, 3);
    let mute = UdpSocket::bind((silent, 53)).unwrap();
    let served = asking(&[silent]);
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    flood.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    for number in 0..200 {
        let asked = question(&format!("n{number}.example."), RecordType::A).to_vec().unwrap();
        flood.send_to(&asked, served.address).unwrap();
        // One at a time, so that none is lost on the way: the next of ours is answered only after it.
        assert_eq!(addresses(&served.udp(&question("web.", RecordType::A).to_vec().unwrap())).len(), 1);
    }
    let mut buffer = [0; 512];
    let length = flood.recv(&mut buffer).unwrap();
    let refused = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::ServFail);
    // Silent connections do not keep others out for ever, nor do they keep datagrams out at all.
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(served.address).unwrap()).collect();
    assert_eq!(addresses(&served.udp(&question("web.", RecordType::A).to_vec().unwrap())).len(), 1);
    drop(silent);
    assert_eq!(addresses(&served.tcp(&question("web.", RecordType::A).to_vec().unwrap())).len(), 1);
    drop(mute);
}
