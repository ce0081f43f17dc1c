//! Public values that no honest peer sends.

use super::*;

/// A peer whose public values are these octets.
struct Fixed(Vec<u8>, Vec<u8>);

struct FixedHalf {
    commit: Vec<u8>,
    part: Vec<u8>,
}

impl Agreements for Fixed {
    fn initiator(&mut self, _: KeyAgreement, _: Cipher, _: &mut dyn Random) -> Box<dyn Agreement> {
        Box::new(FixedHalf { commit: self.0.clone(), part: self.1.clone() })
    }

    fn responder(
        &mut self,
        _: KeyAgreement,
        _: Cipher,
        _: Hash,
        _: &[u8],
        _: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        Ok(Box::new(FixedHalf { commit: Vec::new(), part: self.1.clone() }))
    }
}

impl Agreement for FixedHalf {
    fn commit_value(&self) -> &[u8] {
        &self.commit
    }

    fn part_value(&self) -> &[u8] {
        &self.part
    }

    fn finish(self: Box<Self>, _: &[u8], _: Hash) -> Result<Secret, BadPublicValue> {
        Ok(Secret::new(vec![0; 32]))
    }
}

/// An attacker who sends this value, as responder and as initiator, with everything else right.
#[track_caller]
fn refuses_public_value(agreement: KeyAgreement, commit: &[u8], part1: &[u8], part2: &[u8], roles: &[Role]) {
    for attacker in roles {
        let config = |who: u8| {
            let mut config = Config::new(Zid([who; 12]), u32::from(who));
            config.offer.agreements = vec![agreement];
            let commits = (who == 2) == (*attacker == Role::Initiator);
            config.timers.commit_delay = Duration::from_secs(if commits { 0 } else { 3600 });
            config
        };
        let victim = Party::plain(1, 1, &Memory::default(), |own| *own = config(1));
        let part = if *attacker == Role::Initiator { part2 } else { part1 };
        let fixed = Fixed(commit.to_vec(), part.to_vec());
        let evil = Party::new(Engine::with_agreements(config(2), Seeded(5), NoCache, fixed), Memory::default());
        let mut network = Network::new(victim, evil);
        network.start_both();
        expect_failure(&mut network, A, Failure::PublicValue);
        assert_eq!(network.parties[B].failed, Some(Failure::PeerError(0x61)));
    }
}

const BOTH: &[Role] = &[Role::Initiator, Role::Responder];

#[test]
fn public_values_of_dh3k() {
    let prime = p3072();
    let number = |last: i8| {
        let mut value = prime.clone();
        value[383] = value[383].wrapping_add_signed(last); // the prime ends in ff: +1 carries
        value
    };
    let beyond = vec![0xff; 384]; // the top of the range
    let mut next = prime.clone();
    for octet in next.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            break;
        }
    }
    let mut one = vec![0; 384];
    one[383] = 1;
    for value in [vec![0; 384], one, number(-1), prime.clone(), next, beyond] {
        refuses_public_value(KeyAgreement::Dh3k, &[], &value, &value, BOTH);
    }
}

fn p3072() -> Vec<u8> {
    unhex(concat!(
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd",
        "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed",
        "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f",
        "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b",
        "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510",
        "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7",
        "abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c",
        "bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff"
    ))
}

#[test]
fn public_values_of_x25519() {
    let mut one = [0; 32];
    one[0] = 1;
    // a point of order 8 (RFC 7748 §7: "the all-zero value" results)
    let order_8 = unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for value in [vec![0; 32], one.to_vec(), order_8] {
        refuses_public_value(KeyAgreement::X255, &[], &value, &value, BOTH);
    }
}

#[test]
fn public_values_off_the_curve() {
    for (agreement, octets) in [(KeyAgreement::Ec25, 64), (KeyAgreement::Ec38, 96)] {
        let mut off = vec![0; octets];
        off[octets - 1] = 1;
        for value in [vec![0; octets], vec![0xff; octets], off] {
            refuses_public_value(agreement, &[], &value, &value, BOTH);
        }
    }
}

#[cfg(feature = "x1m1")]
#[test]
fn public_values_of_x1m1() {
    let zero_x25519 = vec![0; 832];
    let mut too_large = vec![0; 832];
    too_large[..32].copy_from_slice(&[9; 32]);
    too_large[32..].fill(0xff); // coefficients of 4095, beyond the modulus
    let initiator = &[Role::Initiator];
    refuses_public_value(KeyAgreement::X1m1, &zero_x25519, &[0; 800], &[0; 16], initiator);
    refuses_public_value(KeyAgreement::X1m1, &too_large, &[0; 800], &[0; 16], initiator);
    refuses_public_value(KeyAgreement::X1m1, &[], &[0; 800], &[0; 16], &[Role::Responder]);
}
