"""What lies here and what can be fetched, and whether it fits this machine: `models list`, for the API."""

from engine_room import memory_fit
from engine_room.catalogue import Catalogue
from engine_room.installed import Installed, by_name, installed
from engine_room.offers import Offer, Offers
from engine_room.schemas_models import InstalledModel, OfferedModel, OfferList
from engine_room.settings import Settings
from engine_room.xtts import licence


def offer_list(catalogue: Catalogue, settings: Settings) -> OfferList:
    """The models of the catalogue that are not here, and all that are. Reads the disk, and may load llama.cpp
    to ask for GPUs: not for the event loop."""
    here = installed(catalogue, settings.models_dir)
    offers = Offers(settings.models_dir).all()
    free = memory_fit.free_memory(settings)
    best = memory_fit.best_that_fits(offers, settings, free)
    return OfferList(
        data=[
            _offered(offer, settings, free) for offer in offers if by_name(offer.id, here) is None
        ],
        here=[_here(model) for model in here],
        free_bytes=max(free.ram_bytes, free.gpu_bytes),
        best=best.id if best else None,
    )


def _offered(offer: Offer, settings: Settings, free: memory_fit.Free) -> OfferedModel:
    need = memory_fit.need_of(offer, settings)
    must_agree = offer.ask and not settings.accept_xtts_license
    return OfferedModel(
        id=offer.id,
        kind=offer.kind,
        size_bytes=offer.size_bytes,
        memory_bytes=need.total_bytes,
        fits=free.holds(need),
        memory=need.said(free),
        context=offer.context,
        licence=offer.licence,
        good_at=offer.good_at,
        terms=licence.TERMS if must_agree else "",
    )


def _here(model: Installed) -> InstalledModel:
    return InstalledModel(
        id=model.id, kind=model.kind, size_bytes=model.size_bytes, bundled=model.is_ours
    )
