-- Calls that were not made after all. Entries of one call may be carried by several workers, in any order: an intent that comes behind
-- the news that it was called off is not written. Forgotten after a day.
CREATE TABLE called_off (
    id      text COLLATE "C" PRIMARY KEY,
    time_ns bigint NOT NULL                -- what was admitted later is another attempt
);
