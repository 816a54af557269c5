"""RoomWorld in parts; `vidbench.worldmodel.game` is the door to them."""
