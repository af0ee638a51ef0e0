//! Bugs put in on purpose.

/// What is done wrong, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A delivery is said to be taken, and is not there.
    DropsDelivery,
    /// A delivery comes twice.
    DoublesDelivery,
    /// Two deliveries change places.
    SwapsDeliveries,
    /// A byte of the payload changes on its way to one subscriber.
    AltersPayload,
    /// A delivery says that it is one further than it is.
    ShiftsOffset,
    /// The notice that continuity is lost does not come.
    ForgetsLost,
    /// The notice says too great an offset.
    LostTooFar,
    /// Whoever was not recovered is told it was.
    ClaimsRecovery,
    /// The number of publications to catch up with is wrong.
    MiscountsCatchUp,
    /// What is published is lost between two workers.
    DropsTell,
    /// It arrives in another order.
    SwapsTells,
    /// What is asked arrives in another order.
    SwapsAsks,
    /// The store says it has kept what it has not written yet.
    AcknowledgesEarly,
    /// The store forgets the newest publication when it is read.
    ForgetsNewest,
    /// The store forgets idempotency keys.
    ForgetsKeys,
    /// The store gives a channel another epoch each time it is read.
    ForgetsEpoch,
    /// The store gives other bytes back than it was given.
    StoreAltersPayload,
    /// The store has a hole.
    StoreHasHole,
    /// The idempotency key does not reach the hub.
    IgnoresKey,
    /// A publication is published, and answered as refused.
    RefusesAfterwards,
    /// The answer to a publication names another position.
    AnswersWrongPosition,
    /// Unsubscribing is answered and not done.
    IgnoresUnsubscribe,
    /// Everybody may do everything.
    AllowsEverything,
    /// A right that is taken away is taken away for new subscriptions only.
    ChecksAtSubscribeOnly,
    /// A volatile publication is kept.
    KeepsVolatile,
    /// Who wants no echo gets it.
    EchoesAnyway,
    /// Somebody else's publication is said to be the subscriber's own.
    TakesForOwn,
    /// After a restart the log begins anew under the same epoch.
    ReusesEpoch,
    /// A page of history leaves something out.
    LeavesOutHistory,
    /// A delivery goes to another session.
    CrossesSessions,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::DropsDelivery,
        Self::DoublesDelivery,
        Self::SwapsDeliveries,
        Self::AltersPayload,
        Self::ShiftsOffset,
        Self::ForgetsLost,
        Self::LostTooFar,
        Self::ClaimsRecovery,
        Self::MiscountsCatchUp,
        Self::DropsTell,
        Self::SwapsTells,
        Self::SwapsAsks,
        Self::AcknowledgesEarly,
        Self::ForgetsNewest,
        Self::ForgetsKeys,
        Self::ForgetsEpoch,
        Self::StoreAltersPayload,
        Self::StoreHasHole,
        Self::IgnoresKey,
        Self::RefusesAfterwards,
        Self::AnswersWrongPosition,
        Self::IgnoresUnsubscribe,
        Self::AllowsEverything,
        Self::ChecksAtSubscribeOnly,
        Self::KeepsVolatile,
        Self::EchoesAnyway,
        Self::TakesForOwn,
        Self::ReusesEpoch,
        Self::LeavesOutHistory,
        Self::CrossesSessions,
    ];
}

/// The bug that is in, if any. Without the feature there is none, and the compiler knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded(Option<Bug>);

impl Seeded {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self(if cfg!(feature = "seeded-bugs") { bug } else { None })
    }

    pub(crate) fn is(self, bug: Bug) -> bool {
        cfg!(feature = "seeded-bugs") && self.0 == Some(bug)
    }
}
