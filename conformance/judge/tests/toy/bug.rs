//! What can be wrong with the toy hub, one thing at a time.

use sockeye_judge::Kind;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $bug:ident => $($kind:ident)|+,)*) => {
        /// A seeded bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $($(#[doc = $doc])* $bug),* }

        /// Each bug with the kinds of anomaly by one of which it must be known.
        pub const BUGS: &[(Bug, &[Kind])] = &[$((Bug::$bug, &[$(Kind::$kind),+])),*];
    };
}

bugs! {
    /// A subscriber does not get one.
    DropsOne => Gap,
    DropsTheLast => Undelivered,
    DoublesOne => Doubled,
    SwapsTwo => Reordered,
    AltersAByte => Altered,
    /// Another publication's body under this position, for one subscriber.
    ShowsAnother => PositionReused | StoredTwice,
    /// Two subscribers see another order: positions as they should be, bodies swapped.
    SwapsBodies => PositionReused,
    InventsOne => Invented,
    DeliversToAnotherChannel => WrongChannel,
    ForgetsThePosition => NoPosition,
    EchoesAnyway => Echoed,
    SkipsAnothers => SkippedForeign,
    DoublesAVolatile => Doubled,
    SwapsVolatiles => PublisherOrder,
    /// A slow subscriber misses some and is not told.
    ForgetsTheLostNotice => Gap,
    LostNamesTooSmall => WrongLost,
    LostNamesTooBig => WrongLost,
    LostNamesThePast => WrongLost,
    CatchUpOverlapsLive => Doubled,
    CatchUpAfterLive => CatchUpAfterLive,
    CatchUpHasAHole => FalseRecovery,
    RecoveredThoughTheWindowIsGone => FalseRecovery,
    RecoveredThoughTheEpochIsGone => FalseRecovery,
    NotRecoveredThoughHeld => NeedlessLoss,
    AnnouncesTooMany => WrongCatchUp,
    AnnouncesTooFew => WrongCatchUp,
    LastGivesTooFew => WrongCatchUp,
    SubscribedIsStale => AcknowledgedLost | WentBack | Gap,
    SubscribedIsAhead => BeforeStart,
    SubscribedIsAheadInQuiet => Ahead,
    /// `ok`, and the next publication gets the position.
    OkBeforeStored => PositionReused,
    /// `ok`, and the position stays empty.
    OkNeverStored => Gap,
    OkTwice => StrayReply,
    RefusedAppears => RefusedAppears,
    StoresTwice => StoredTwice,
    /// What was on its way when the connection died is done twice.
    UnknownAppearsTwice => StoredTwice,
    KeyTwice => KeyTwice,
    KeyMoves => KeyMoved | PositionReused | KeyTwice,
    SwapsThePublishersOrder => PublisherOrder,
    StoresAVolatile => VolatileStored | Gap,
    /// After a restart offsets begin again in the same epoch.
    EpochReused => AcknowledgedLost | WentBack,
    EpochReturns => EpochReturned,
    RestartLosesTheLastOnDisk => AcknowledgedLost | WentBack,
    RestartLosesAllOnDisk => EpochChanged,
    EpochChangesInSilence => EpochUnannounced,
    DeliversAfterUnsubscribe => NotSubscribed,
    DeliversBeforeSubscribed => NotSubscribed,
    LiveWithoutPermission => Unauthorised,
    CatchUpWithoutPermission => Unauthorised,
    HistoryWithoutPermission => Unauthorised,
    PresenceWithoutPermission => Unauthorised,
    PublishWithoutPermission => Unauthorised,
    HistoryHasAHole => HistoryHole,
    HistoryMissesTheNewest => HistoryHole,
    HistoryMissesTheOldest => HistoryHole,
    /// The client's own: it goes on from one position too late.
    ClientMiscounts => WrongSince,
}
