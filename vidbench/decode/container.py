"""Video files through PyAV: mp4, mov, mkv, webm, avi, gif, animated png and a few more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import av
import cv2
import numpy as np
from av.codec import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidbench.decode.probe import HEAD_BYTES, box_types, image_size, is_cut_off, open_regular, what_it_is
from vidbench.decode.source import Picture, Source, over_black
from vidbench.errors import ClipError
from vidbench.video import Limits

# What may be opened at all. Playlists (hls, dash, concat), image sequences and raw streams without a clock are left
# out: the first open other files, the second read the file name as a pattern, the third have an invented frame rate.
_VIDEO_FORMATS = "mov,matroska,webm,avi,gif,apng,flv,live_flv,asf,ogg,nut,ivf,mpegts,mpeg,mxf,yuv4mpegpipe"
# Opened only to say "audio only" of a file that is.
_AUDIO_FORMATS = "mp3,wav,flac,aac,aiff,ac3,amr,caf,w64,au"
_NOT_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}


class ContainerSource(Source):
    """One video file.

    A frame that is known to be wrong (undecodable, concealed by the decoder, cut off) fails the clip: a metric would
    take the damage for the model's work. A header that promises more frames than the file has is a warning.

    Untagged YUV is read with the BT.601 matrix, as FFmpeg writes it from RGB when nobody asks for another.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path
        self._whole = 0
        """Frames that decoded without a complaint."""
        self._damage: str | None = None
        self._reformatter = VideoReformatter()
        self._flip: _Orientation | None = None

    def pictures(self) -> Iterator[Picture]:
        """See `Source.pictures`."""
        with open_regular(self._path) as file:
            head = file.read(HEAD_BYTES)
            what = what_it_is(head)
            # An animated PNG has the signature of a still one; the demuxer tells them apart.
            if what is not None and not head.startswith(b"\x89PNG"):
                raise ClipError(f"{what}, not a video")
            if size := image_size(head):
                self.check_size(*size)
            cut_off = is_cut_off(file)
            try:
                with self._open(file, head, cut_off) as container:
                    yield from self._read(container, cut_off)
            except (av.FFmpegError, ValueError, ArithmeticError, LookupError, MemoryError, OSError) as error:
                raise ClipError(f"cannot be decoded: {_one_line(error)}") from error

    def _open(self, file: BinaryIO, head: bytes, cut_off: bool) -> InputContainer:
        # The file object keeps FFmpeg from reading the name as a URL or a pattern; the lists keep what is inside from
        # opening anything else. FFmpeg rounds sizes up before it compares them, hence the slack.
        options = {
            "format_whitelist": f"{_VIDEO_FORMATS},{_AUDIO_FORMATS}",
            "protocol_whitelist": "none",
            "max_pixels": str(self._decoder_max_pixels()),
        }
        try:
            return av.open(file, mode="r", options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            if head[4:8] == b"ftyp" and b"moov" not in box_types(file):
                raise ClipError("cut off: the index that stands at its end (moov) is missing") from error
            if what := what_it_is(head):
                raise ClipError(f"{what}, not a video") from error
            if cut_off:
                raise ClipError("cut off: its header or index is incomplete") from error
            raise ClipError("not a video in a format that vidbench reads, or its header is damaged") from error

    def _decoder_max_pixels(self) -> int:
        return min(2 * self.limits.max_pixels + (1 << 20), (1 << 31) - 1)

    def _read(self, container: InputContainer, cut_off: bool) -> Iterator[Picture]:
        stream = self._choose(container)
        decoder = self._decoder(stream)
        rate = stream.average_rate or stream.guessed_rate
        self.rate = float(rate) if rate else None
        numerator, denominator = (stream.time_base or 1).as_integer_ratio()
        self.tick = numerator / denominator

        # AVI has a constant rate and no presentation times; with B-frames, FFmpeg's guesses at them are out of order.
        reordered = container.format.name == "avi" and stream.codec_context.has_b_frames
        first_pts: int | None = None
        time: float | None = None
        discarded = 0
        for packet, frames in self._decode(container, stream, decoder):
            discarded += packet is not None and packet.is_discard
            for frame in frames:
                if frame.is_corrupt:
                    self._note_damage("is damaged")
                if self._damage is not None:
                    self._whole += not frame.is_corrupt
                    continue
                self.check_size(frame.width, frame.height)
                if self._flip is None:
                    self._flip = _Orientation(frame)
                    self._look_at(stream, frame)
                if first_pts is None:
                    first_pts = frame.pts
                if frame.pts is None or first_pts is None or reordered:
                    time = self._whole / self.rate if reordered and self.rate else None
                else:
                    time = (frame.pts - first_pts) * numerator / denominator
                self._whole += 1
                yield self._flip(self._rgb(frame)), time
        # FFmpeg counts the frames of a GIF, so their number is no promise.
        promised = 0 if container.format.name == "gif" else max(0, stream.frames - discarded)
        self._settle(promised, cut_off)
        self._compare_duration(container, stream, time)

    def _choose(self, container: InputContainer) -> VideoStream:
        streams = [s for s in container.streams.video if not s.disposition & _NOT_VIDEO]
        if not streams:
            kinds = {s.type for s in container.streams}
            raise ClipError("no video stream (audio only)" if "audio" in kinds else "no video stream")
        if len(streams) > 1:
            self.warnings.append(f"{len(streams)} video streams; the first is read")
        return streams[0]

    def _decoder(self, stream: VideoStream) -> VideoCodecContext:
        decoder: VideoCodecContext | None = stream.codec_context
        if decoder is None:
            raise ClipError("its codec is not supported by this build of FFmpeg")
        self.check_size(decoder.width, decoder.height)
        if stream.metadata.get("alpha_mode") == "1" and decoder.name in ("vp8", "vp9"):
            # FFmpeg's own decoders ignore the alpha plane that WebM carries beside the picture.
            name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[decoder.name]
            if name in av.codecs_available:
                extradata = decoder.extradata
                decoder = cast("VideoCodecContext", CodecContext.create(name, "r"))
                decoder.extradata = extradata
            else:
                self.warnings.append(f"the alpha channel is ignored: this build of FFmpeg lacks {name}")
        # Clips are spread over processes; more threads a clip only add waiting.
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(self._decoder_max_pixels())}
        return decoder

    def _decode(
        self, container: InputContainer, stream: VideoStream, decoder: VideoCodecContext
    ) -> Iterator[tuple[Packet[VideoStream] | None, list[VideoFrame]]]:
        """Each packet with the frames it brings, then None with those that were still held; notes all damage."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._note_damage(f"cannot be read ({_one_line(error)})")
                packet = None
            if packet is not None and packet.dts is None and not packet.size:
                packet = None  # what PyAV ends with; a decoder takes None for it, whoever made it
            if packet is not None and packet.is_corrupt:
                self._note_damage("is damaged")
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError as error:
                if packet is not None and packet.has_sidedata("encryption_info"):
                    raise ClipError("encrypted") from error
                self._note_damage(f"does not decode ({_one_line(error)})")
                frames = []
            yield packet, frames
            if packet is None:
                return

    def _note_damage(self, what: str) -> None:
        if self._damage is None:
            self._damage = f"near frame {self._whole} the file {what}"

    def _settle(self, promised: int, cut_off: bool) -> None:
        """Judge the file at its end, from what the header promised and what came."""
        of_promised = f" of {promised}" if promised > self._whole else ""
        if cut_off and (self._damage is not None or not promised or self._whole < promised):
            raise ClipError(f"cut off: decodes {self._whole}{of_promised} frames")
        if self._damage is not None:
            raise ClipError(f"damaged: {self._damage}; {self._whole}{of_promised} frames decode")
        if self._whole == 0:
            raise ClipError("no frames")
        if cut_off:
            self.warnings.append("the file is cut off after its last frame")
        if self._whole < promised:
            self.warnings.append(f"the container promises {promised} frames and has {self._whole}")

    def _compare_duration(self, container: InputContainer, stream: VideoStream, last: float | None) -> None:
        """Matroska promises a length instead of a number of frames."""
        if stream.frames or container.duration is None or self.rate is None or last is None:
            return
        promised, got = container.duration / av.time_base, last + 1 / self.rate
        if len(container.streams) == 1 and promised - got > max(0.1 * promised, 2 / self.rate):
            self.warnings.append(f"the container promises {promised:.2f} s and has {got:.2f} s")

    def _look_at(self, stream: VideoStream, frame: VideoFrame) -> None:
        """Note what is read otherwise than a player would show it."""
        if transfer := _HDR_TRANSFERS.get(frame.color_trc):
            self.warnings.append(f"HDR ({transfer}) is read as stored, without tone mapping")
        aspect = stream.sample_aspect_ratio
        if aspect and aspect != 1:
            self.warnings.append(f"pixels of {aspect.numerator}:{aspect.denominator} are read as square")

    def _rgb(self, frame: VideoFrame) -> NDArray[np.uint8]:
        layout = frame.format
        alpha = layout.has_palette or any(component.is_alpha for component in layout.components)
        converted = self._reformatter.reformat(frame, format="rgba" if alpha else "rgb24", threads=1)
        channels = 4 if alpha else 3
        plane = converted.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        picture: NDArray[np.uint8] = rows[: frame.height, : channels * frame.width]
        picture = picture.reshape(frame.height, frame.width, channels)
        return over_black(picture) if alpha else picture


class _Orientation:
    """The display matrix of a stream as flips and a transposition (rotations are multiples of 90 degrees)."""

    def __init__(self, frame: VideoFrame) -> None:
        self._transpose = False
        self._flip: int | None = None
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return
        # x' = a x + c y, y' = b x + d y, with y down; 16.16 fixed point in rows of three.
        a, b, _, c, d = np.frombuffer(bytes(cast("SideData", data)), "=i4")[:5].tolist()
        self._transpose = abs(b) > abs(a)
        right_to_left, upside_down = (c < 0, b < 0) if self._transpose else (a < 0, d < 0)
        if right_to_left or upside_down:
            self._flip = -1 if right_to_left and upside_down else int(right_to_left)

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._transpose:
            picture = np.asarray(cv2.transpose(picture), np.uint8)
        if self._flip is not None:
            picture = np.asarray(cv2.flip(picture, self._flip), np.uint8)
        return picture


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
