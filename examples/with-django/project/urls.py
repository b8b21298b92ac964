from django.urls import path

from rooms import views

urlpatterns = [
    path("", views.lobby),
    path("chat/<slug:room>/", views.room),
    path("announce/<slug:room>/", views.announce),
]
